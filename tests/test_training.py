import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from gr2.errors import InputError
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.training import find_last_checkpoint, train, warn_if_nothing_was_learned


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a b"], 270)


def trainer_of(
    folder: Path, tokenizer, examples: int = 24, callbacks=None, kind=Trainer, data_collator=None, **options
) -> Trainer:
    """A tiny model on sequences of five tokens, four of them a step."""
    generator = torch.Generator().manual_seed(0)
    rows = [{"input_ids": ids, "labels": ids} for ids in torch.randint(3, 260, (examples, 5), generator=generator)]
    common = {"per_device_train_batch_size": 4, "max_steps": 4, "save_steps": 2, "logging_steps": 1}
    args = TrainingArguments(str(folder), **common | options, report_to="none", disable_tqdm=True, seed=0)
    given = {"train_dataset": rows, "eval_dataset": rows, "callbacks": callbacks, "data_collator": data_collator}
    return kind(small_model(tokenizer, 16, 1, 2, 64, seed=0), args, **given)


class Killed(Exception):
    pass


class KillAfter(TrainerCallback):
    """Ends the training after the checkpoint of a step, as a kill would."""

    def __init__(self, step: int):
        self.step = step

    def on_save(self, args, state, control, **_) -> None:
        if state.global_step == self.step:
            raise Killed


@pytest.mark.parametrize("step", [2, 4])
def test_a_run_that_was_killed_after_a_checkpoint_ends_as_a_whole_one(tmp_path, tokenizer, step):
    """Step 4 is the last: it has its checkpoint, and no model yet. The log has nothing that counts from a resume."""
    train(trainer_of(tmp_path / "whole", tokenizer))
    with pytest.raises(Killed):
        train(trainer_of(tmp_path / "killed", tokenizer, callbacks=[KillAfter(step)]))
    train(trainer_of(tmp_path / "killed", tokenizer))
    for name in ("model.safetensors", "training_log.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    log = [json.loads(line) for line in (tmp_path / "whole/training_log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [1, 2, 3, 4] and all("loss" in entry for entry in log)
    assert not find_last_checkpoint(tmp_path / "killed")


def test_no_step_is_no_training(tmp_path, tokenizer):
    """Three examples, four a batch, and incomplete batches are dropped."""
    with pytest.raises(InputError, match="not one step"):
        train(trainer_of(tmp_path, tokenizer, examples=3, dataloader_drop_last=True))
    assert not (tmp_path / "model.safetensors").exists()


def test_a_training_that_diverged_is_refused(tmp_path, tokenizer):
    with pytest.raises(InputError, match="diverged"):
        train(trainer_of(tmp_path, tokenizer, learning_rate=1e38, max_grad_norm=0.0))
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("losses", "gradient", "warning"),
    [
        ([5.2, 4.0, 61.25], 3.0, "the loss rose from 5.2 to 61.25"),
        ([5.2, 4.0], 0.0, "the last gradient is 0, so the model no longer learns"),
        ([5.2, 61.0, 5.2], 3.0, None),
        ([], 3.0, None),
    ],
)
def test_a_training_that_did_not_learn_is_named(capfd, losses, gradient, warning):
    steps = [{"loss": loss, "grad_norm": gradient} for loss in losses]
    warn_if_nothing_was_learned([{"eval_loss": 9.0}, *steps, {"train_loss": 99.0}])
    expected = f"gr2: warning: {warning}; a lower learning_rate may help\n" if warning else ""
    assert capfd.readouterr().err == expected


def test_what_is_no_whole_checkpoint_is_passed_over(tmp_path, tokenizer):
    with pytest.raises(Killed):
        train(trainer_of(tmp_path, tokenizer, callbacks=[KillAfter(2)]))
    whole = tmp_path / "checkpoint-2"
    assert find_last_checkpoint(tmp_path) == str(whole)
    for name in ("checkpoint-best", "checkpoint-3", "checkpoint-4", "checkpoint-5", "checkpoint-7"):
        shutil.copytree(whole, tmp_path / name)
    (tmp_path / "checkpoint-3/model.safetensors").unlink()
    weights = (whole / "model.safetensors").read_bytes()
    (tmp_path / "checkpoint-4/model.safetensors").write_bytes(weights[: len(weights) // 2])
    (tmp_path / "checkpoint-5/trainer_state.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "checkpoint-6").write_text("a file")
    (tmp_path / "checkpoint-7/trainer_state.json").write_text("[1]")
    assert find_last_checkpoint(tmp_path) == str(whole)
    train(trainer_of(tmp_path, tokenizer, save_strategy="no"))
    assert (tmp_path / "checkpoint-best").exists() and (tmp_path / "checkpoint-6").exists(), "not the trainer's"


def test_a_lost_best_checkpoint_is_not_forgotten(tmp_path, tokenizer):
    """transformers would go on and write the best of what follows. The loss falls, and here more is better: step 1."""
    options = {"eval_strategy": "steps", "eval_steps": 1, "save_steps": 1, "load_best_model_at_end": True}
    options |= {"metric_for_best_model": "loss", "greater_is_better": True}
    with pytest.raises(Killed):
        train(trainer_of(tmp_path, tokenizer, callbacks=[KillAfter(3)], **options))
    shutil.rmtree(tmp_path / "checkpoint-1")
    with pytest.raises(InputError, match="checkpoint-1: no such folder"):
        train(trainer_of(tmp_path, tokenizer, **options))
