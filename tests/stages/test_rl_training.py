"""`gr2 rl` in this process, on a model that has learned nothing, so that each training takes a second."""

import json
import shlex
import shutil
from pathlib import Path

import polars as pl
import pytest
from safetensors.torch import load_file

from tests.helpers import refused

SETTINGS = shlex.split(
    "--bf16 false --disable_tqdm true --logging_steps 1 --prompt student_no_trace --structured true "
    "--per_device_train_batch_size 16 --num_generations 8 --max_completion_length 110 "
    "--max_steps 2 --learning_rate 1e-2"
)


def words(world, model, slates=None) -> list[str]:
    tables = ["--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", str(slates or world.slates)]
    return [*tables, "--model_name_or_path", str(model), *SETTINGS]


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
    large = "--per_device_train_batch_size", "32"
    complaint = refused("rl", *words(world, beginner, slates), "--output_dir", tmp_path / "rl", *large)
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
    settings = {"no_repeat_ngram_size": 2, "min_new_tokens": 20, "typical_p": 0.5, "suppress_tokens": [10, 11, 12]}
    odd = with_settings_of_its_own(beginner, tmp_path / "odd", **settings, repetition_penalty=1.5, do_sample=True)
    logs = []
    for model in (plain, odd):
        log = run_rl(world, model, tmp_path / f"{model.name}_rl", "--eval_slates", "4", "--eval_steps", "1")
        logs.append(
            [(entry.get("reward"), entry.get("completions/mean_length"), entry.get("eval_ndcg@5")) for entry in log]
        )
    assert logs[0] == logs[1]


def config_of(world, model, *more: str):
    from gr2.options.parse import parse
    from gr2.options.words import read_options
    from gr2.stages.rl import Config

    return parse("rl", Config, read_options([*words(world, model), "--output_dir", "unused", *more]))


def test_the_log_tells_copies_of_what_was_shown_from_copies_of_the_input(world, beginner, tmp_path):
    (entry, *_) = run_rl(world, beginner, tmp_path / "rl", "--shuffle_candidates", "true")
    assert {"copied_shown", "kendall_tau_shown", "identity_rate", "kendall_tau", "flat"} <= entry.keys()
    assert entry["kendall_tau_shown"] != entry["kendall_tau"]


def test_without_validation_it_is_said_that_the_last_model_is_written(world, beginner, tmp_path, capsys):
    run_rl(world, beginner, tmp_path / "rl", "--max_steps", "1")
    assert "gr2: warning: eval_slates 0: nothing is validated; the last model is written" in capsys.readouterr().err


def test_the_card_is_the_same_in_another_folder(world, beginner, tmp_path):
    """TRL's own would tell the folder's name."""
    for folder in ("rl", "again"):
        run_rl(world, beginner, tmp_path / folder, "--save_strategy", "steps", "--save_steps", "1")
    card = (tmp_path / "rl/README.md").read_text()
    assert card == (tmp_path / "again/README.md").read_text()
    assert "trained by `gr2 rl`" in card and "student_no_trace" in card and "generated_from_trainer" not in card


@pytest.mark.parametrize(("length", "complaint"), [("20", "shortest answer"), ("500", "context of 512")])
def test_an_answer_that_cannot_fit_is_refused(world, beginner, tmp_path, length, complaint):
    more = "--max_completion_length", length
    assert complaint in refused("rl", *words(world, beginner), "--output_dir", tmp_path / "rl", *more)
    assert not (tmp_path / "rl").exists()


REFUSED = {
    "--overlong_cache 110": "--overlong_cache 110",
    "--overlong_cache -1": "--overlong_cache -1",
    "--eval_slates -1": "--eval_slates -1",
    "--max_resamples 0": "--max_resamples 0",
    "--max_slates 0": "--max_slates 0",
    "--max_prompt_tokens 0": "--max_prompt_tokens 0",
    "--alpha -0.1": "--alpha -0.1",
    "--alpha nan": "--alpha nan",
    "--epsilon_high -1": "--epsilon_high -1",
    "--reward gr3": "gr2_conditional",
    "--use_vllm true": "--use_vllm True: expected False; TRL's vLLM decodes no choices",
    "--top_p 0.9": "--top_p 0.9: expected 1.0",
    "--structured false --top_p 0.9": "--top_p 0.9: expected 1.0; it would change what is sampled, but not the",
    "--structured false --top_k 5": "--top_k 5: expected 0",
    "--structured false --min_p 0.1": "--min_p 0.1: expected None",
    "--structured false --repetition_penalty 1.1": "--repetition_penalty 1.1: expected 1.0",
    "--use_transformers_continuous_batching true": "--use_transformers_continuous_batching True: expected False",
    "--generation_kwargs '{\"num_beams\": 2}'": '--generation_kwargs {"num_beams": 2}: expected None',
    "--chat_template_kwargs '{\"a\": false}'": '--chat_template_kwargs {"a": false}: expected None',
    "--vllm_structured_outputs_regex a+": "--vllm_structured_outputs_regex a+",
    "--remove_unused_columns true": "--remove_unused_columns True",
    '--model_init_kwargs \'{"dtype": "float16"}\'': '--model_init_kwargs {"dtype": "float16"}: expected None',
    "--loss_type ppo": "--loss_type ppo: expected one of grpo",
    "--scale_rewards batches": "--scale_rewards batches: expected one of group, batch, none",
    "--vllm_importance_sampling_mode sequence": "token_truncate",
    "--reward_weights 1 0.5": "--reward_weights 1.0 0.5: expected 1",
    "--sync_ref_model true": "--sync_ref_model true: expected beta above 0",
    "--eval_strategy steps": "--eval_slates 0",
    "--eval_slates 1 --save_strategy no": "--save_strategy no: expected steps",
    "--eval_slates 1 --eval_strategy epoch": "--eval_strategy epoch: expected steps",
    "--num_iterations 3 --save_steps 10": "--save_steps 10: expected a multiple of 3, such as 12, since 3 steps learn",
    "--num_iterations 2 --save_steps 0.1": "--save_steps 0.1: expected a multiple of 2, such as 2",
    "--steps_per_generation 4 --gradient_accumulation_steps 2 --save_steps 25": "a multiple of 2, such as 26",
    "--generation_batch_size 64 --save_steps 25": "--save_steps 25: expected a multiple of 4",
    "--num_iterations 2 --eval_slates 4 --eval_steps 5": "--eval_steps 5: expected a multiple of 2, such as 6",
    "--num_iterations 2 --enable_jit_checkpoint true": "--enable_jit_checkpoint true: expected false",
    "--metric_for_best_model reward": "--metric_for_best_model reward: expected None",
}


@pytest.mark.parametrize(("more", "complaint"), REFUSED.items())
def test_options_that_cannot_be_meant_are_refused(world, tmp_path, more, complaint):
    assert complaint in refused("rl", *words(world, "mine"), "--output_dir", tmp_path / "out", *shlex.split(more))
    assert not (tmp_path / "out").exists()


def test_vllms_ratios_are_cut_token_by_token(world, beginner):
    assert config_of(world, beginner).vllm_importance_sampling_mode == "token_truncate"


def test_the_option_names_every_reward():
    from typing import get_args

    from gr2.rl.rewards import REWARDS
    from gr2.stages.rl import Config

    assert get_args(Config.__annotations__["reward"]) == tuple(REWARDS)


def test_dapo_is_the_default(world, beginner):
    config = config_of(world, beginner)
    clip = config.loss_type, config.epsilon, config.epsilon_high, config.beta, config.scale_rewards
    assert clip == ("dapo", 0.2, 0.28, 0.0, "group")
    assert (config.temperature, config.top_p, config.top_k, config.mask_truncated_completions) == (1.0, 1.0, 0, False)


@pytest.mark.parametrize("more", [
    "--num_iterations 3 --save_steps 12",
    "--num_iterations 3 --save_strategy no",
    "--num_iterations 3 --save_strategy epoch",
    "--num_iterations 2 --gradient_accumulation_steps 4 --steps_per_generation 2 --save_steps 25",
    "--gradient_accumulation_steps 4 --save_steps 25",
    "--num_iterations 2 --eval_slates 4 --eval_steps 6 --save_steps 5",
    "--save_steps 0.1 --enable_jit_checkpoint true",
])  # fmt: skip
def test_checkpoints_may_fall_between_generations(world, beginner, more):
    config_of(world, beginner, *shlex.split(more))


def test_validation_turns_on_what_keeps_the_best_checkpoint(world, beginner):
    config = config_of(world, beginner, "--eval_slates", "4", "--eval_steps", "3")
    assert config.eval_strategy == config.save_strategy == "steps" and config.eval_steps == config.save_steps == 3
    assert config.load_best_model_at_end and config.metric_for_best_model == "ndcg@5"
