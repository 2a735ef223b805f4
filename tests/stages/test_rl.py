import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers import gr2, resumed_after_a_kill

pytestmark = pytest.mark.slow

SHORT = ["--bf16", "false", "--disable_tqdm", "true", "--save_strategy", "no", "--logging_steps", "1",
         "--per_device_train_batch_size", "16", "--num_generations", "8", "--max_completion_length", "48",
         "--prompt", "student_no_trace"]  # fmt: skip


def log_of(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    return [entry for entry in lines if "reward" in entry]


@pytest.fixture(scope="module")
def reinforced(world, traced, tuned) -> Path:
    """The same 16 slates again and again, 8 of them a step: what the rewards of two passes differ by is not the slates."""
    folder = world.root / "rl"
    gr2("rl", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
        "--model_name_or_path", tuned, "--output_dir", folder, "--max_steps", "48", "--learning_rate", "1e-3",
        *SHORT, "--max_slates", "16", "--per_device_train_batch_size", "64")  # fmt: skip
    return folder


def test_the_reward_rises(reinforced):
    rewards = [entry["reward"] for entry in log_of(reinforced)]
    assert len(rewards) == 48
    assert sum(rewards[-12:]) / 12 > sum(rewards[:12]) / 12 + 0.05  # 768 answers each: one standard error is 0.02


def test_every_step_logs_what_would_show_hacking(reinforced):
    for entry in log_of(reinforced):
        assert {"valid", "invalid/unknown_id", "frac_reward_zero_std", "completions/mean_length"} <= entry.keys()
        if entry["valid"] > 0:
            assert {
                "identity_rate",
                "copied_shown",
                "kendall_tau",
                "promoted",
                "kept",
                "demoted",
                "first",
            } <= entry.keys()
            assert entry["promoted"] + entry["kept"] + entry["demoted"] == pytest.approx(1, abs=1e-4)


def test_the_policy_moved(tuned, reinforced):
    from safetensors.torch import load_file

    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (tuned, reinforced))
    assert all((before[name] != after[name]).any() for name in before)


def test_under_the_grammar_a_model_without_sft_answers_and_learns(world, traced, midtrained, tmp_path):
    """The mid-trained model never saw an answer; two gradients per rollout, so that old log-probabilities are needed."""
    gr2("rl", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates, "--structured", "true",
        "--model_name_or_path", midtrained, "--output_dir", tmp_path / "rl", "--max_steps", "24", "--learning_rate", "1e-3",
        "--num_iterations", "2", *SHORT)  # fmt: skip
    log = log_of(tmp_path / "rl")
    assert all(entry["valid"] == 1 for entry in log)
    assert sum(entry["reward"] for entry in log[-8:]) > sum(entry["reward"] for entry in log[:8])
    first_use = log[0]
    assert first_use["clip_ratio/region_mean"] == 0, "the log-probabilities are not those of the sampled policy"


def test_log_probabilities_are_among_the_admitted_tokens():
    import torch
    from accelerate import Accelerator

    from gr2.language_model.scratch import small_model, train_tokenizer
    from gr2.rl.structured import StructuredTrainer

    model = small_model(train_tokenizer(["a b"], 300), 32, 1, 2, 64, seed=0)
    ids = torch.tensor([[5, 6, 7, 8]])
    policy = SimpleNamespace(accelerator=Accelerator(cpu=True), temperature=2.0)
    words = torch.zeros(1, 2, 10, dtype=torch.int32)
    words[0, 0, 0] = 1 << 7  # token 7 is forced
    words[0, 1, 0] = 1 << 8 | 1 << 9  # 8 or 9
    policy.admitted = words
    logps, entropies, _ = StructuredTrainer._get_per_token_logps_and_entropies(policy, model, ids, ids > 0, 2)
    pair = (model(ids).logits[0, 2, [8, 9]] / 2).log_softmax(-1)
    assert torch.allclose(logps, torch.stack([torch.zeros(()), pair[0]])[None], atol=1e-5)
    assert torch.allclose(entropies, torch.stack([torch.zeros(()), -(pair.exp() * pair).sum()])[None], atol=1e-5)


def test_a_mixture_of_experts_has_its_balancing_loss():
    import torch
    from accelerate import Accelerator
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    from gr2.rl.structured import StructuredTrainer

    shape = {"vocab_size": 64, "hidden_size": 16, "moe_intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "num_key_value_heads": 1, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2}  # fmt: skip
    policy = SimpleNamespace(accelerator=Accelerator(cpu=True), temperature=1.0)
    policy.admitted = torch.full((1, 2, 2), -1, dtype=torch.int32)
    ids = torch.tensor([[5, 6, 7, 8]])
    *_, balance = StructuredTrainer._get_per_token_logps_and_entropies(
        policy, Qwen3MoeForCausalLM(Qwen3MoeConfig(**shape)), ids, ids > 0, 2, compute_aux_loss=True
    )
    assert balance > 0


def test_nothing_to_learn_from_is_said_aloud(world, traced, midtrained, tmp_path):
    done = gr2("rl", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
               "--model_name_or_path", midtrained, "--output_dir", tmp_path / "rl", "--max_steps", "1", *SHORT,
               "--num_generations", "4", expect=2)  # fmt: skip
    assert "unusable answers" in done.stderr and "num_generations 4" in done.stderr
    assert "nothing was learned" in done.stderr and not (tmp_path / "rl/model.safetensors").exists()


def test_a_killed_run_resumes_to_the_same_bytes_and_the_same_choice(world, traced, tuned, tmp_path):
    """With dynamic sampling and validation; killed after the first checkpoint of a step, not of the model before RL."""
    words = ["--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
             "--model_name_or_path", tuned, "--max_steps", "6", "--learning_rate", "1e-3", "--dynamic_sampling", "true",
             "--eval_slates", "16", "--eval_steps", "2", *SHORT]  # fmt: skip
    whole, killed = resumed_after_a_kill("rl", tmp_path, words, "checkpoint-[1-9]*")
    assert not (whole / "README.md").exists() and not (killed / "README.md").exists()
    logs = [
        [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
        for folder in (whole, killed)
    ]
    for log in logs:
        assert [entry["step"] for entry in log if "reward" in entry] == [1, 2, 3, 4, 5, 6]
        assert [entry["step"] for entry in log if "eval_ndcg@5" in entry] == [0, 2, 4, 6]
    first, second = ([(entry["step"], entry.get("reward"), entry.get("eval_ndcg@5")) for entry in log] for log in logs)
    assert first == second


def test_the_best_on_validation_is_what_is_written(world, traced, midtrained, tmp_path):
    """Answers of the written model, made by `gr2 rerank`, are worth what the log says of the best step, also after a
    training on shuffled candidates.
    """
    import numpy as np
    import polars as pl

    from gr2.metrics import ndcg, pad

    words = ["--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates, "--structured", "true",
             "--prompt", "student_no_trace"]  # fmt: skip
    done = gr2("rl", *words, "--model_name_or_path", midtrained, "--output_dir", tmp_path / "rl", "--max_steps", "6",
               "--learning_rate", "1e-3", "--eval_slates", "1000", "--eval_steps", "2", "--shuffle_candidates", "true",
               *SHORT)  # fmt: skip
    entries = [json.loads(line) for line in (tmp_path / "rl/training_log.jsonl").read_text().splitlines()]
    values = {entry["step"]: entry["eval_ndcg@5"] for entry in entries if "eval_ndcg@5" in entry}
    best = max(values, key=values.get)
    assert (f"step {best} is written" if best else "that model is written, unchanged") in done.stdout
    gr2("rerank", *words, "--reranker", tmp_path / "rl", "--split", "valid", "--max_tokens", "64",
        "--output_dir", tmp_path / "ranked")  # fmt: skip
    slates = pl.read_parquet(traced.slates).filter(pl.col("split") == "valid", pl.col("labels").list.max() > 0)
    slates = slates.join(pl.read_parquet(tmp_path / "ranked/rankings.parquet"), on="slate_id", maintain_order="left")
    ranked = [[dict(zip(slate["candidates"], slate["labels"], strict=True))[item] for item in slate["ranking"]]
              for slate in slates.to_dicts()]  # fmt: skip
    assert ndcg(pad(ranked, np.nan), 5).mean() == pytest.approx(values[best])


def test_where_no_step_is_better_the_model_before_rl_is_written(world, traced, tuned, tmp_path):
    """At rate 0 nothing changes, and an equal later step is not better. Candidates are shown in random order."""
    from safetensors.torch import load_file

    done = gr2("rl", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
               "--model_name_or_path", tuned, "--output_dir", tmp_path / "rl", "--max_steps", "2", "--learning_rate", "0",
               "--eval_slates", "8", "--eval_steps", "1", "--shuffle_candidates", "true", *SHORT)  # fmt: skip
    assert "that model is written, unchanged" in done.stdout
    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (tuned, tmp_path / "rl"))
    assert before.keys() == after.keys() and all((before[name] == after[name]).all() for name in before)


def test_a_model_that_reasoned_learns_to_answer_without_a_trace(world, traced, midtrained, tmp_path):
    """Reasoning internalisation (2606.31984): a second run, from the first one's model, with the prompt without a trace."""
    words = ["--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates, "--structured", "true",
             "--max_steps", "1", *SHORT[:-2]]  # fmt: skip
    reasoned, internal = tmp_path / "reasoned", tmp_path / "internal"
    gr2("rl", *words, "--model_name_or_path", midtrained, "--prompt", "student", "--output_dir", reasoned,
        "--max_completion_length", "128")  # fmt: skip
    gr2(
        "rl",
        *words,
        "--model_name_or_path",
        reasoned,
        "--prompt",
        "student_no_trace",
        "--output_dir",
        internal,
    )
    (before,), (after,) = log_of(reasoned), log_of(internal)
    assert after["valid"] == 1 and after["trace_words"] == 0
    assert after["completions/mean_length"] < before["completions/mean_length"]
