"""Trainings in two gloo processes on the CPU. `accelerate launch --cpu` would silently start one."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gr2.arrays import pad
from gr2.files.slates import sample_slates, slates_of
from gr2.metrics import ndcg

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
COMMON = shlex.split(
    "--bf16 false --disable_tqdm true --max_steps 2 --logging_steps 1 --per_device_train_batch_size 4 "
)


def launch(stage: str, output: Path, *words: str) -> dict:
    """Runs a stage in two processes; returns its manifest."""
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launcher = shlex.split("-m torch.distributed.run --standalone --nproc_per_node 2 -m gr2")
    command = [sys.executable, *launcher, stage, "--output_dir", str(output), *words, *COMMON]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((output / "manifest.json").read_text())


def inputs(world, slates: str, model: str) -> list[str]:
    tables = ["--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", slates]
    return [*tables, "--model_name_or_path", model]


def changed(before: str, after: Path) -> bool:
    from safetensors.torch import load_file

    old, new = load_file(Path(before) / "model.safetensors"), load_file(after / "model.safetensors")
    return all((old[name] != new[name]).any() for name in old)


def test_midtrain(world, tmp_path):
    tables = ["--items", world.items, "--interactions", world.interactions, "--semantic_ids", world.semantic_ids]
    size = shlex.split("--hidden_size 32 --layers 1 --heads 1 --vocab_size 300 --block_length 64 --passes 2")
    manifest = launch("midtrain", tmp_path / "out", *tables, *size, "--save_strategy", "no")
    assert manifest["processes"] == 2 and "model.safetensors" in manifest["outputs"]


def test_sft(world, midtrained, traced, tmp_path):
    words = [*inputs(world, traced.slates, midtrained), "--traces", traced.traces, "--save_strategy", "no"]
    manifest = launch("sft", tmp_path / "out", *words)
    assert manifest["processes"] == 2 and changed(midtrained, tmp_path / "out")


RL = shlex.split(
    "--num_generations 4 --prompt student_no_trace --max_completion_length 48 "
    "--learning_rate 1e-3 --dynamic_sampling true"
)


def test_rl(world, traced, tuned, tmp_path):
    words = [*inputs(world, traced.slates, tuned), *RL, "--save_strategy", "no"]
    manifest = launch("rl", tmp_path / "out", *words)
    assert manifest["processes"] == 2 and changed(tuned, tmp_path / "out")


def test_structured_rl_with_dynamic_sampling_and_validation(world, traced, midtrained, tmp_path):
    """Five validation slates on two processes: each counts once."""
    options = shlex.split("--structured true --eval_slates 5 --eval_steps 1")
    manifest = launch("rl", tmp_path / "out", *inputs(world, traced.slates, midtrained), *RL, *options)
    assert manifest["processes"] == 2
    log = [json.loads(line) for line in (tmp_path / "out/training_log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log if "resamples" in entry] == [1, 2]
    evaluations = [entry for entry in log if "eval_ndcg@5" in entry]
    assert [entry["step"] for entry in evaluations] == [0, 1, 2]
    relevant = (pl.col("split") == "valid") & (pl.col("labels").list.max() > 0)
    valid = sample_slates(
        slates_of(pl.read_parquet(traced.slates).filter(relevant)), 5, seed=42
    )  # transformers' own seed
    given = ndcg(pad([slate.labels for slate in valid], np.nan), 5).mean()
    assert all(entry["eval_input_ndcg@5"] == pytest.approx(given) for entry in evaluations)
    best = max(evaluations, key=lambda entry: entry["eval_ndcg@5"])["step"]
    assert changed(midtrained, tmp_path / "out") == (best > 0)
