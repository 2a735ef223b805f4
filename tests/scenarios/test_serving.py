"""Checkpoints of sft and rl load where a user would load them, with no code of ours."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.forking import forked

pytestmark = [pytest.mark.slow, pytest.mark.vllm]

SERVE = """
import os, sys
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the engine in this process: one import for all checkpoints

def main():
    from vllm import LLM, SamplingParams
    greedy = SamplingParams(max_tokens=8, temperature=0, ignore_eos=True)
    for folder in sys.argv[1:]:
        llm = LLM(folder, dtype="bfloat16", enforce_eager=True, max_model_len=512, generation_config="vllm")
        out = llm.generate(["<|im_start|>user\\nHistory:"], greedy, use_tqdm=False)
        assert len(out[0].outputs[0].token_ids) == 8
        print("served", folder, flush=True)
        del llm

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def checkpoints(world, traced, tuned) -> dict[str, str]:
    """The folders of `gr2 sft` and of a short `gr2 rl`."""
    folder = world.root / "rl_served"
    forked("rl", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
           "--model_name_or_path", tuned, "--output_dir", folder, "--max_steps", "1", "--bf16", "false",
           "--per_device_train_batch_size", "32", "--num_generations", "8", "--max_completion_length", "48",
           "--prompt", "student_no_trace", "--structured", "true", "--temperature", "3",
           "--save_strategy", "no", "--disable_tqdm", "true")  # fmt: skip
    return {"sft": tuned, "rl": str(folder)}


@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_loads_in_transformers(checkpoints, stage):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(checkpoints[stage])
    tokenizer = AutoTokenizer.from_pretrained(checkpoints[stage])
    inputs = tokenizer("<|im_start|>user\nHistory:", return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=8, min_new_tokens=8, do_sample=False)
    assert output.shape[1] == inputs["input_ids"].shape[1] + 8


def test_both_load_in_vllm(checkpoints, tmp_path):
    pytest.importorskip("vllm")
    script = tmp_path / "serve.py"
    script.write_text(SERVE)
    command = [sys.executable, script, *checkpoints.values()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path("/"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line for line in done.stdout.splitlines() if line.startswith("served")] == [
        f"served {folder}" for folder in checkpoints.values()
    ]
