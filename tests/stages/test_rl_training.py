"""`gr2 rl` in this process, on a model that has learned nothing, so that each training takes a second."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers import refused

SETTINGS = ["--bf16", "false", "--disable_tqdm", "true", "--save_strategy", "no", "--logging_steps", "1",
            "--prompt", "student_no_trace", "--structured", "true", "--per_device_train_batch_size", "16",
            "--num_generations", "8", "--max_completion_length", "110", "--max_steps", "2", "--learning_rate", "1e-2"]  # fmt: skip


def words(world, model, slates=None) -> list[str]:
    return ["--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", str(slates or world.slates),
            "--model_name_or_path", str(model), *SETTINGS]  # fmt: skip


def run_rl(world, model, folder: Path, *more: str, slates=None) -> list[dict]:
    """Trains, and returns the log."""
    from gr2.runner.stage import run_stage

    run_stage("rl", [*words(world, model, slates), "--output_dir", str(folder), *more])
    return [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]


def some_slates(world, folder: Path, count: int) -> Path:
    """The first train slates, and all others of the file."""
    frame = pl.read_parquet(world.slates)
    useful = pl.col("split").eq("train") & pl.col("labels").list.max().gt(0)
    kept = pl.concat([frame.filter(useful).head(count), frame.filter(pl.col("split") != "train")])
    kept.write_parquet(folder / "slates.parquet")
    return folder / "slates.parquet"


def with_settings_of_its_own(model: Path, folder: Path, **settings) -> Path:
    """The model, with such a generation_config.json as a hub model may have."""
    shutil.copytree(model, folder, ignore=lambda *_: ["manifest.json"])
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return folder


def test_fewer_slates_than_groups_in_a_batch_are_refused(world, beginner, tmp_path):
    """Three slates, and four groups a batch: TRL would make no step, and the unchanged model would be RL's result."""
    slates = some_slates(world, tmp_path, 3)
    complaint = refused("rl", *words(world, beginner, slates), "--output_dir", tmp_path / "rl",
                        "--per_device_train_batch_size", "32")  # fmt: skip
    assert "3 train slates" in complaint and "at least 4" in complaint
    assert not (tmp_path / "rl").exists()


def test_slates_that_fill_no_batch_are_counted(world, beginner, tmp_path, capsys):
    run_rl(world, beginner, tmp_path / "rl", slates=some_slates(world, tmp_path, 5))
    assert "1 of 5 slates are left out of each pass" in capsys.readouterr().out
    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (beginner, tmp_path / "rl"))
    assert any((before[name] != after[name]).any() for name in before)


def test_settings_of_the_models_own_do_not_matter(world, beginner, tmp_path):
    """Answers of free decoding and of validation, with and without what a hub model's file may ask for."""
    plain = with_settings_of_its_own(beginner, tmp_path / "plain")
    odd = with_settings_of_its_own(beginner, tmp_path / "odd", no_repeat_ngram_size=2, min_new_tokens=20, typical_p=0.5,
                                   suppress_tokens=[10, 11, 12], repetition_penalty=1.5, do_sample=True)  # fmt: skip
    logs = []
    for model in (plain, odd):
        log = run_rl(world, model, tmp_path / f"{model.name}_rl", "--eval_slates", "4", "--eval_steps", "1")
        logs.append(
            [(entry.get("reward"), entry.get("completions/mean_length"), entry.get("eval_ndcg@5")) for entry in log]
        )
    assert logs[0] == logs[1]


def test_free_rollouts_follow_the_recipe_alone(world, beginner, tmp_path):
    plain = with_settings_of_its_own(beginner, tmp_path / "plain")
    odd = with_settings_of_its_own(beginner, tmp_path / "odd", min_new_tokens=60, no_repeat_ngram_size=1)
    made = [rollouts(model, tmp_path) for model in (plain, odd)]
    assert made[0] == made[1]


def rollouts(model: Path, folder: Path, rows: int | None = None) -> list[list[int]]:
    """What a trainer samples without a grammar from this model, its vocabulary padded to so many rows."""
    from datasets import Dataset
    from trl import GRPOConfig

    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.rl.dynamic_sampling import DynamicSamplingTrainer

    tokenizer, policy = load_tokenizer(str(model)), load_model(str(model))
    if rows:
        policy.resize_token_embeddings(rows)
        with torch.no_grad():
            policy.get_output_embeddings().weight[len(tokenizer) :] *= 100
    args = GRPOConfig(
        str(folder / "unused"), per_device_train_batch_size=8, max_completion_length=48, bf16=False, report_to="none"
    )
    rows_of_data = Dataset.from_list([{"prompt": [{"role": "user", "content": "a"}], "slate_id": "a"}])
    trainer = DynamicSamplingTrainer(policy, [lambda completions, **_: [0.0] * len(completions)], args, rows_of_data,
                                     processing_class=tokenizer, max_resamples=0)  # fmt: skip
    torch.manual_seed(0)
    prompt_ids, *_ = trainer._tokenize_prompts([rows_of_data[0]["prompt"]] * 8)
    return trainer._generate_single_turn(prompt_ids, None, {}, 8)[0]


def test_rows_that_pad_the_vocabulary_are_not_sampled(beginner, tmp_path):
    from gr2.language_model.loading import load_tokenizer

    size = len(load_tokenizer(str(beginner)))
    answers = rollouts(beginner, tmp_path, rows=size + 500)
    assert len(answers) == 8 and all(token < size for answer in answers for token in answer)


def test_an_answer_with_a_token_that_the_tokenizer_lacks_is_unusable():
    from gr2.prompts.answer import Answer
    from gr2.stages.rl import reward_functions

    config = SimpleNamespace(reward="ndcg", alpha=0.2, overlong_cache=0)
    (reward,) = reward_functions(config, lambda text, given: Answer(ranking=list(given)), known={1, 2, 3})
    facts = {}
    rewards = reward(completions=[[{"content": "x"}]] * 2, completion_ids=[[1, 2], [1, 99]], candidates=[["a", "b"]] * 2,
                     labels=[[1.0, 0.0]] * 2, shown=[["a", "b"]] * 2, log_metric=facts.__setitem__)  # fmt: skip
    assert rewards == [1.2, -1.0] and facts["valid"] == facts["invalid/unknown_id"] == 0.5


def test_validation_shows_candidates_as_rerank_does(world, beginner):
    from gr2.data.catalogue import read_catalogue
    from gr2.prompts.prompt import load_prompt, render
    from gr2.rl.examples import training_rows, validation_rows

    catalogue, prompt = read_catalogue(world.items, world.semantic_ids), load_prompt("student_no_trace")
    config = config_of(world, beginner, "--shuffle_candidates", "true", "--eval_slates", "6")
    slates = {row["slate_id"]: row for row in pl.read_parquet(world.slates).iter_rows(named=True)}
    judged = validation_rows(config, catalogue, prompt)
    assert len(judged) == 6
    for row in judged:
        assert row["shown"] == row["candidates"] == slates[row["slate_id"]]["candidates"]
        assert row["prompt"] == render(prompt, slates[row["slate_id"]], catalogue)
    learned = training_rows(config, catalogue, prompt)
    assert all(sorted(row["shown"]) == sorted(row["candidates"]) for row in learned)
    assert sum(row["shown"] != row["candidates"] for row in learned) > 0.9 * len(learned)


def config_of(world, model, *more: str):
    from gr2.options.parse import parse, read_options
    from gr2.stages.rl import Config

    return parse("rl", Config, read_options([*words(world, model), "--output_dir", "unused", *more]))


def test_slates_are_drawn_at_random_under_the_seed(world, beginner):
    """Not the first ones, which are the first users'."""
    from gr2.data.catalogue import read_catalogue
    from gr2.prompts.prompt import load_prompt
    from gr2.rl.examples import training_rows, validation_rows

    catalogue, prompt = read_catalogue(world.items, world.semantic_ids), load_prompt("student_no_trace")

    def drawn(make, seed: str) -> list[str]:
        config = config_of(world, beginner, "--max_slates", "4", "--eval_slates", "4", "--seed", seed)
        return [row["slate_id"] for row in make(config, catalogue, prompt)]

    frame = pl.read_parquet(world.slates).filter(pl.col("labels").list.max() > 0)
    for make, split in ((training_rows, "train"), (validation_rows, "valid")):
        all_ids = frame.filter(pl.col("split") == split)["slate_id"].to_list()
        first, second = drawn(make, "0"), drawn(make, "1")
        assert first == drawn(make, "0") != second and first != all_ids[:4]
        assert len(first) == 4 and first == [name for name in all_ids if name in first]


def test_the_log_tells_copies_of_what_was_shown_from_copies_of_the_input(world, beginner, tmp_path):
    (entry, *_) = run_rl(world, beginner, tmp_path / "rl", "--shuffle_candidates", "true")
    assert {"copied_shown", "kendall_tau_shown", "identity_rate", "kendall_tau", "flat"} <= entry.keys()
    assert entry["kendall_tau_shown"] != entry["kendall_tau"]


def test_without_validation_it_is_said_that_the_last_model_is_written(world, beginner, tmp_path):
    with pytest.warns(UserWarning, match="the last model is written, however good"):
        run_rl(world, beginner, tmp_path / "rl", "--max_steps", "1")


def test_no_readme_with_the_folders_name(world, beginner, tmp_path):
    run_rl(world, beginner, tmp_path / "rl", "--save_strategy", "steps", "--save_steps", "1")
    assert not (tmp_path / "rl/README.md").exists()


@pytest.mark.parametrize(("more", "complaint"), [
    (["--max_completion_length", "20"], "shortest answer"),
    (["--max_completion_length", "500"], "context of 512"),
])  # fmt: skip
def test_an_answer_that_cannot_fit_is_refused(world, beginner, tmp_path, more, complaint):
    assert complaint in refused("rl", *words(world, beginner), "--output_dir", tmp_path / "rl", *more)
    assert not (tmp_path / "rl").exists()


@pytest.mark.parametrize(("more", "complaint"), [
    (["--overlong_cache", "110"], "--overlong_cache 110"),
    (["--overlong_cache", "-1"], "--overlong_cache -1"),
    (["--eval_slates", "-1"], "--eval_slates -1"),
    (["--max_resamples", "0"], "--max_resamples 0"),
    (["--max_slates", "0"], "--max_slates 0"),
    (["--max_prompt_tokens", "0"], "--max_prompt_tokens 0"),
    (["--alpha", "-0.1"], "--alpha -0.1"),
    (["--alpha", "nan"], "--alpha nan"),
    (["--epsilon_high", "-1"], "--epsilon_high -1"),
    (["--reward", "gr3"], "gr2_conditional"),
    (["--use_vllm", "true"], "--use_vllm True: expected False; TRL's vLLM takes no grammar"),
    (["--top_p", "0.9"], "--top_p 0.9: expected 1.0"),
    (["--repetition_penalty", "1.1"], "--repetition_penalty 1.1: expected 1.0"),
    (["--use_transformers_continuous_batching", "true"], "--use_transformers_continuous_batching True: expected False"),
    (["--generation_kwargs", '{"num_beams": 2}'], "--generation_kwargs"),
    (["--chat_template_kwargs", '{"enable_thinking": false}'], "--chat_template_kwargs"),
    (["--vllm_structured_outputs_regex", "a+"], "--vllm_structured_outputs_regex a+"),
    (["--remove_unused_columns", "true"], "--remove_unused_columns True"),
    (["--model_init_kwargs", '{"dtype": "float16"}'], "--model_init_kwargs"),
    (["--loss_type", "ppo"], "--loss_type ppo: expected one of grpo"),
    (["--scale_rewards", "batches"], "--scale_rewards batches: expected one of group, batch, none"),
    (["--vllm_importance_sampling_mode", "sequence"], "token_truncate"),
    (["--reward_weights", "1", "0.5"], "--reward_weights 1.0 0.5: expected 1"),
    (["--sync_ref_model", "true"], "--sync_ref_model true: expected beta above 0"),
    (["--eval_strategy", "steps"], "--eval_slates 0"),
])  # fmt: skip
def test_options_that_cannot_be_meant_are_refused(world, tmp_path, more, complaint):
    assert complaint in refused("rl", *words(world, "mine"), "--output_dir", tmp_path / "out", *more)
    assert not (tmp_path / "out").exists()


def test_vllms_ratios_are_cut_token_by_token(world, beginner):
    assert config_of(world, beginner).vllm_importance_sampling_mode == "token_truncate"


def test_the_option_names_every_reward():
    from typing import get_args

    from gr2.rl.rewards import REWARDS
    from gr2.stages.rl import Config

    assert get_args(Config.__annotations__["reward"]) == tuple(REWARDS)
