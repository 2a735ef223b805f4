"""RL in two gloo processes on the CPU, DDP and FSDP2: what the processes have to agree on."""

import json
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gr2.arrays import pad
from gr2.files.slates import sample_slates, slates_of
from gr2.metrics import ndcg
from tests.scenarios.launching import launch

pytestmark = pytest.mark.slow
RL = shlex.split(
    "--bf16 false --disable_tqdm true --max_steps 2 --logging_steps 1 --per_device_train_batch_size 4 "
    "--num_generations 4 --prompt student_no_trace --max_completion_length 48 --learning_rate 1e-3 "
    "--dynamic_sampling true"
)


def train(mode: str, world, slates: str, model: str, folder: Path, options: str) -> list[dict]:
    """The log of an RL training in two processes."""
    tables = ["--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", slates]
    words = [*tables, "--model_name_or_path", model, *RL, *shlex.split(options), "--output_dir", str(folder / "rl")]
    launch(mode, [("rl", words)], folder)
    assert json.loads((folder / "rl/manifest.json").read_text())["processes"] == 2
    return [json.loads(line) for line in (folder / "rl/training_log.jsonl").read_text().splitlines()]


def changed(before: str, after: Path) -> bool:
    from safetensors.torch import load_file

    old, new = load_file(Path(before) / "model.safetensors"), load_file(after / "model.safetensors")
    return all((old[name] != new[name]).any() for name in old)


@pytest.mark.parametrize("mode", ["ddp", "fsdp2"])
def test_free_answers_with_dynamic_sampling(mode, world, traced, tuned, tmp_path):
    """Answers end at different steps; while one process decodes, the other must, too, where weights are sharded."""
    log = train(mode, world, traced.slates, tuned, tmp_path, "--save_strategy no")
    assert [entry["step"] for entry in log if "resamples" in entry] == [1, 2]
    assert changed(tuned, tmp_path / "rl")


@pytest.mark.parametrize("mode", ["ddp", "fsdp2"])
def test_structured_answers_with_dynamic_sampling_and_validation(mode, world, traced, midtrained, tmp_path):
    """Five validation slates on two processes: each counts once."""
    options = "--structured true --eval_slates 5 --eval_steps 1"
    log = train(mode, world, traced.slates, midtrained, tmp_path, options)
    assert [entry["step"] for entry in log if "resamples" in entry] == [1, 2]
    evaluations = [entry for entry in log if "eval_ndcg@5" in entry]
    assert [entry["step"] for entry in evaluations] == [0, 1, 2]
    relevant = (pl.col("split") == "valid") & (pl.col("labels").list.max() > 0)
    valid = slates_of(pl.read_parquet(traced.slates).filter(relevant))
    given = ndcg(pad([slate.labels for slate in sample_slates(valid, 5, seed=42)], np.nan), 5).mean()  # TRL's own seed
    assert all(entry["eval_input_ndcg@5"] == pytest.approx(given) for entry in evaluations)
    best = max(evaluations, key=lambda entry: entry["eval_ndcg@5"])["step"]
    assert changed(midtrained, tmp_path / "rl") == (best > 0)
