"""The weighted mean is over the tokens of all processes: one step in two gloo processes is the step of one."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.scenarios.launching import start_both, wait_for
from tests.sft.test_weighting import made, trainer_of, weighted_rows


def one_step(folder: Path) -> None:
    """Four examples of unequal length, by plain gradient descent; run in each process."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    model, _ = made()
    trainer = trainer_of(
        model,
        weighted_rows(0.3, 1.0),
        folder,
        max_steps=1,
        per_device_train_batch_size=4 // world,
        optim="sgd",
        learning_rate=1.0,
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
    )
    trainer.train()
    assert trainer.accelerator.num_processes == world
    if trainer.is_world_process_zero():
        save_file({name: value.clone() for name, value in model.state_dict().items()}, folder / f"{world}.safetensors")


@pytest.mark.slow
def test_two_processes_make_the_step_of_one(tmp_path):
    one_step(tmp_path)
    wait_for(start_both(one_step, (tmp_path,), tmp_path, {}), tmp_path)
    alone, together = (load_file(tmp_path / f"{world}.safetensors") for world in (1, 2))
    torch.testing.assert_close(together, alone)
    assert any(not torch.equal(value, alone[name]) for name, value in made()[0].state_dict().items())
