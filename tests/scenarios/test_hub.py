"""Trainings in two processes hand their models on through a stand-in for the hub, as environment variables name it."""

import json
import os
import shlex
import subprocess
import sys

import pytest

from gr2.runner.stage import run_stage
from tests.hub_stand_in import TOKEN, stand_in_for_the_hub, variables
from tests.scenarios.launching import torchrun

pytestmark = pytest.mark.slow
SHORT = shlex.split("--bf16 false --disable_tqdm true --max_steps 1 --save_strategy no --push_to_hub true")
SCRIPT = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForCausalLM, AutoTokenizer))
print(model.num_parameters(), len(tokenizer))
"""


def test_midtrain_sft_and_rl_push_once_and_load_from_the_hub(world, tmp_path, monkeypatch):
    items, slates = ["--items", world.items, "--semantic_ids", world.semantic_ids], ["--slates", world.slates]
    size = shlex.split("--hidden_size 16 --layers 1 --heads 2 --vocab_size 300 --context 512 --passes 1")
    lists = shlex.split("--prompt student_no_trace --structured true --num_generations 4 --max_completion_length 110")
    run_stage("template", [*items, *slates, "--prompt", "rejection", "--output_dir", str(tmp_path / "traces")])
    traces = ["--traces", str(tmp_path / "traces/traces.jsonl"), "--prompt", "student_no_trace"]
    words = {
        "midtrain": [*items, "--interactions", world.interactions, *size],
        "sft": [*items, *slates, *traces, "--model_name_or_path", "me/midtrain"],
        "rl": [*items, *slates, *lists, "--model_name_or_path", "me/sft"],
    }
    for stage, own in words.items():
        own += [*SHORT, "--hub_model_id", f"me/{stage}", "--output_dir", str(tmp_path / stage)]
    with stand_in_for_the_hub() as hub:
        for name, value in variables(hub, str(tmp_path / "home")).items():
            monkeypatch.setenv(name, value)
        printed = torchrun("ddp", [*words.items()], tmp_path)
        for stage in words:
            repository = hub.repositories[f"me/{stage}"]
            manifest = json.loads((tmp_path / stage / "manifest.json").read_text())
            assert manifest["processes"] == 2 and repository.commits == [f"gr2 {stage}"]
            assert repository.files.keys() == manifest["outputs"].keys()
            assert repository.files["model.safetensors"] == (tmp_path / stage / "model.safetensors").read_bytes()
        assert "base_model: me/sft\n" in hub.repositories["me/rl"].files["README.md"].decode()
        assert "cannot check that it was taught" not in printed and TOKEN not in printed
        done = subprocess.run([sys.executable, "-c", SCRIPT, "me/rl"], capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, done.stderr
        parameters, tokens = done.stdout.split()
        assert int(parameters) > 0 and int(tokens) > 300
