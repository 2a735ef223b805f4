"""The thin scripts in two gloo processes on the CPU. `accelerate launch --cpu` would silently start one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gr2.files.slates import sample_slates
from gr2.metrics import ndcg, pad

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
COMMON = ["--bf16", "false", "--disable_tqdm", "true", "--save_strategy", "no", "--max_steps", "2", "--logging_steps", "1",
          "--per_device_train_batch_size", "4"]  # fmt: skip


def launch(script: str, output: Path, *words: str) -> dict:
    """Runs a script in two processes; returns its manifest."""
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
               str(ROOT / "scripts" / script), "--output_dir", str(output), *words, *COMMON]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((output / "manifest.json").read_text())


def changed(before: str, after: Path) -> bool:
    from safetensors.torch import load_file

    old, new = load_file(Path(before) / "model.safetensors"), load_file(after / "model.safetensors")
    return all((old[name] != new[name]).any() for name in old)


def test_midtrain(world, tmp_path):
    manifest = launch("midtrain.py", tmp_path / "out", "--items", world.items, "--interactions", world.interactions,
                      "--semantic_ids", world.semantic_ids, "--hidden_size", "32", "--layers", "1", "--heads", "1",
                      "--vocab_size", "300", "--block_length", "64", "--passes", "2")  # fmt: skip
    assert manifest["processes"] == 2 and "model.safetensors" in manifest["outputs"]


def test_sft(world, midtrained, traced, tmp_path):
    manifest = launch("sft.py", tmp_path / "out", "--items", world.items, "--semantic_ids", world.semantic_ids,
                      "--slates", traced.slates, "--traces", traced.traces, "--model_name_or_path", midtrained)  # fmt: skip
    assert manifest["processes"] == 2 and changed(midtrained, tmp_path / "out")


def test_rl(world, traced, tuned, tmp_path):
    manifest = launch("rl.py", tmp_path / "out", "--items", world.items, "--semantic_ids", world.semantic_ids,
                      "--slates", traced.slates, "--model_name_or_path", tuned, "--num_generations", "4",
                      "--prompt", "student_no_trace", "--max_completion_length", "48",
                      "--learning_rate", "1e-3", "--dynamic_sampling", "true")  # fmt: skip
    assert manifest["processes"] == 2 and changed(tuned, tmp_path / "out")


def test_structured_rl_with_dynamic_sampling_and_validation(world, traced, midtrained, tmp_path):
    """Five validation slates on two processes: each is judged once."""
    manifest = launch("rl.py", tmp_path / "out", "--items", world.items, "--semantic_ids", world.semantic_ids,
                      "--slates", traced.slates, "--model_name_or_path", midtrained, "--num_generations", "4",
                      "--prompt", "student_no_trace", "--max_completion_length", "48", "--learning_rate", "1e-3",
                      "--structured", "true", "--dynamic_sampling", "true", "--eval_slates", "5", "--eval_steps", "1")  # fmt: skip
    assert manifest["processes"] == 2
    log = [json.loads(line) for line in (tmp_path / "out/training_log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log if "resamples" in entry] == [1, 2]
    evaluations = [entry for entry in log if "eval_ndcg@5" in entry]
    assert [entry["step"] for entry in evaluations] == [0, 1, 2]
    slates = pl.read_parquet(traced.slates).filter((pl.col("split") == "valid") & (pl.col("labels").list.max() > 0))
    judged = sample_slates(slates.to_dicts(), 5, seed=42)  # transformers' own seed
    given = ndcg(pad([slate["labels"] for slate in judged], np.nan), 5).mean()
    assert all(entry["eval_input_ndcg@5"] == pytest.approx(given) for entry in evaluations)
    best = max(evaluations, key=lambda entry: entry["eval_ndcg@5"])["step"]
    assert changed(midtrained, tmp_path / "out") == (best > 0)
