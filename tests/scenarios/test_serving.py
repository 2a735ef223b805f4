"""Checkpoints of sft and rl load where a user would load them, with no code of ours."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.vllm]

SERVE = """
import os, sys
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

def main():
    from vllm import LLM, SamplingParams
    llm = LLM(sys.argv[1], dtype="bfloat16", enforce_eager=True, max_model_len=512, generation_config="vllm")
    sampling = SamplingParams(max_tokens=8, temperature=0, ignore_eos=True)
    out = llm.generate(["<|im_start|>user\\nHistory:"], sampling, use_tqdm=False)
    assert len(out[0].outputs[0].token_ids) == 8
    print("served")

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def checkpoints(world, traced, tuned) -> dict[str, str]:
    """The folders of `gr2 sft` and of a short `gr2 rl`."""
    from tests.forking import forked

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


@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_loads_in_vllm(checkpoints, stage, tmp_path):
    pytest.importorskip("vllm")
    script = tmp_path / "serve.py"
    script.write_text(SERVE)
    done = subprocess.run([sys.executable, script, checkpoints[stage]], capture_output=True, text=True, cwd=Path("/"))
    assert done.returncode == 0 and "served" in done.stdout, done.stderr[-3000:]
