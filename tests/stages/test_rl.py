"""`gr2 rl` as a user runs it, on models of 60,000 parameters."""

import json
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file

from gr2.arrays import pad
from gr2.files.slates import slates_of
from gr2.metrics import ndcg
from tests.forking import forked
from tests.helpers import gr2, resumed_after_a_kill

pytestmark = pytest.mark.slow

SHORT = shlex.split(
    "--bf16 false --disable_tqdm true --logging_steps 1 --per_device_train_batch_size 16 --num_generations 8 "
    "--max_completion_length 48 --prompt student_no_trace --gradient_checkpointing false"
)
VALIDATED = shlex.split("--max_steps 6 --learning_rate 1e-3 --eval_steps 2")


def inputs(world, traced, model) -> list[str]:
    tables = ["--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates]
    return [*tables, "--model_name_or_path", str(model)]


def entries_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]


def log_of(folder: Path) -> list[dict]:
    return [entry for entry in entries_of(folder) if "reward" in entry]


@pytest.fixture(scope="module")
def reinforced(world, traced, tuned) -> Path:
    """The same 16 slates again and again, 8 a step: what the rewards of two passes differ by is not the slates."""
    folder = world.root / "rl"
    size = shlex.split(
        "--max_steps 32 --learning_rate 1e-3 --max_slates 16 --per_device_train_batch_size 64 --save_strategy no"
    )
    gr2("rl", *inputs(world, traced, tuned), "--output_dir", folder, *SHORT, *size)
    return folder


def test_the_reward_rises(reinforced):
    rewards = [entry["reward"] for entry in log_of(reinforced)]
    assert len(rewards) == 32
    # From -0.10 to 0.17; steps differ by 0.14: one standard error of the difference of two means of eight is 0.07.
    assert sum(rewards[-8:]) / 8 > sum(rewards[:8]) / 8 + 0.05


def test_every_step_logs_what_would_show_hacking(reinforced):
    for entry in log_of(reinforced):
        assert {"valid", "invalid/unknown_id", "frac_reward_zero_std", "completions/mean_length"} <= entry.keys()
        if entry["valid"] > 0:
            moves = {"promoted", "kept", "demoted"}
            assert {"identity_rate", "copied_shown", "kendall_tau", "first"} | moves <= entry.keys()
            assert sum(entry[name] for name in moves) == pytest.approx(1, abs=1e-4)


def test_the_policy_moved(tuned, reinforced):
    before, after = weights(tuned), weights(reinforced)
    assert all((before[name] != after[name]).any() for name in before)


def weights(folder: str | Path) -> dict:
    return load_file(Path(folder) / "model.safetensors")


def test_by_choices_a_model_without_sft_answers_and_learns(world, traced, midtrained, tmp_path):
    """The mid-trained model never saw an answer; two gradients per rollout, so old log-probabilities are needed."""
    options = shlex.split("--structured true --max_steps 24 --learning_rate 1e-3 --num_iterations 2 --max_slates 8")
    size = shlex.split("--per_device_train_batch_size 64 --save_strategy no")
    forked("rl", *inputs(world, traced, midtrained), "--output_dir", tmp_path / "rl", *SHORT, *options, *size)
    log = log_of(tmp_path / "rl")
    assert all(entry["valid"] == 1 for entry in log)
    rewards = [entry["reward"] for entry in log]
    # 256 answers each, which differ by .5: one standard error of the difference is 0.04.
    assert len(rewards) == 12 and sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.1
    first_use = log[0]
    assert first_use["clip_ratio/region_mean"] == 0, "the log-probabilities are not those of the sampled policy"


def test_nothing_to_learn_from_is_said_aloud(world, traced, midtrained, tmp_path):
    options = shlex.split("--max_steps 1 --num_generations 4 --save_strategy no")
    done = forked("rl", *inputs(world, traced, midtrained), "--output_dir", tmp_path / "rl", *SHORT, *options, expect=2)
    assert "unusable answers" in done.stderr and "num_generations 4" in done.stderr
    assert all(line.startswith("gr2: ") for line in done.stderr.splitlines())  # the libraries are silent
    assert "nothing was learned" in done.stderr and not (tmp_path / "rl/model.safetensors").exists()


def test_a_killed_run_resumes_to_the_same_bytes_and_the_same_choice(world, traced, tuned, tmp_path):
    """With dynamic sampling and validation; killed after the first checkpoint of a step, not of the model before RL."""
    words = [*inputs(world, traced, tuned), *SHORT, *VALIDATED, "--dynamic_sampling", "true", "--eval_slates", "16"]
    whole, killed = resumed_after_a_kill("rl", tmp_path, words, "checkpoint-[1-9]*")
    assert (whole / "README.md").read_bytes() == (killed / "README.md").read_bytes()
    logs = [entries_of(whole), entries_of(killed)]
    for log in logs:
        assert [entry["step"] for entry in log if "reward" in entry] == [1, 2, 3, 4, 5, 6]
        assert [entry["step"] for entry in log if "eval_ndcg@5" in entry] == [0, 2, 4, 6]
    first, second = ([(entry["step"], entry.get("reward"), entry.get("eval_ndcg@5")) for entry in log] for log in logs)
    assert first == second


def test_the_best_on_validation_is_what_is_written(world, traced, midtrained, tmp_path):
    """Answers of the written model, made by `gr2 rerank`, are worth what the log says of the best step, also after a
    training on shuffled candidates.
    """
    options = shlex.split("--structured true --eval_slates 1000 --shuffle_candidates true")
    done = forked(
        "rl", *inputs(world, traced, midtrained), "--output_dir", tmp_path / "rl", *SHORT, *VALIDATED, *options
    )
    entries = entries_of(tmp_path / "rl")
    values = {entry["step"]: entry["eval_ndcg@5"] for entry in entries if "eval_ndcg@5" in entry}
    best = max(values, key=values.get)
    assert (f"step {best} is written" if best else "that model is written, unchanged") in done.stdout
    tables = inputs(world, traced, midtrained)[:6]
    options = shlex.split("--order choices --prompt student_no_trace --split valid --max_tokens 64")
    forked("rerank", *tables, "--reranker", tmp_path / "rl", *options, "--output_dir", tmp_path / "ranked")
    slates = pl.read_parquet(traced.slates).filter(pl.col("split") == "valid", pl.col("labels").list.max() > 0)
    rankings = dict(pl.read_parquet(tmp_path / "ranked/rankings.parquet").select("slate_id", "ranking").iter_rows())
    ranked = [[slate.grades[item] for item in rankings[slate.slate_id]] for slate in slates_of(slates)]
    assert ndcg(pad(ranked, np.nan), 5).mean() == pytest.approx(values[best])


def test_where_no_step_is_better_the_model_before_rl_is_written(world, traced, tuned, tmp_path):
    """At rate 0 nothing changes, and an equal later step is not better. Candidates are shown in random order."""
    options = shlex.split("--max_steps 2 --learning_rate 0 --eval_slates 8 --eval_steps 1 --shuffle_candidates true")
    done = forked("rl", *inputs(world, traced, tuned), "--output_dir", tmp_path / "rl", *SHORT, *options)
    assert "that model is written, unchanged" in done.stdout
    before, after = weights(tuned), weights(tmp_path / "rl")
    assert before.keys() == after.keys() and all((before[name] == after[name]).all() for name in before)


def test_a_model_that_reasoned_learns_to_answer_without_a_trace(world, traced, midtrained, tmp_path):
    """Reasoning internalisation (2606.31984): a second run, from the first one's model, with the prompt without a
    trace.
    """
    options = shlex.split("--structured true --max_steps 1 --save_strategy no")
    reasoned, internal = tmp_path / "reasoned", tmp_path / "internal"
    explained = shlex.split("--prompt student --max_completion_length 128")
    forked("rl", *inputs(world, traced, midtrained), "--output_dir", reasoned, *SHORT, *options, *explained)
    forked("rl", *inputs(world, traced, reasoned), "--output_dir", internal, *SHORT, *options)
    (before,), (after,) = log_of(reasoned), log_of(internal)
    assert after["valid"] == 1 and after["trace_words"] == 0
    assert after["completions/mean_length"] < before["completions/mean_length"]
