"""The thin scripts in two gloo processes on the CPU. `accelerate launch --cpu` would silently start one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
COMMON = ["--bf16", "false", "--disable_tqdm", "true", "--save_strategy", "no", "--max_steps", "2", "--logging_steps", "1",
          "--per_device_train_batch_size", "4"]  # fmt: skip


def launch(script: str, output: Path, *words: str) -> dict:
    """Runs a script in two processes; returns its manifest."""
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
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


@pytest.mark.parametrize("structured", ["false", "true"])
def test_rl(world, traced, midtrained, tuned, tmp_path, structured):
    model = midtrained if structured == "true" else tuned  # under the grammar the tuned one gives equal answers
    manifest = launch("rl.py", tmp_path / "out", "--items", world.items, "--semantic_ids", world.semantic_ids,
                      "--slates", traced.slates, "--model_name_or_path", model, "--num_generations", "4",
                      "--prompt", "prompts/student_no_trace.yaml", "--max_completion_length", "48",
                      "--learning_rate", "1e-3", "--structured", structured)  # fmt: skip
    assert manifest["processes"] == 2 and changed(model, tmp_path / "out")
