"""Trainings in two gloo processes on the CPU, DDP and FSDP2, are those of one; killed, they go on.

`accelerate launch --cpu` would silently start one. NCCL and DeepSpeed are not run.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from gr2.language_model.loading import load_tokenizer
from gr2.language_model.trainable import id_tokens
from gr2.runner.stage import run_stage
from gr2.training import find_last_checkpoint
from tests.scenarios.launching import kill, launch, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # four launches make what all tests of a mode look at
COMMON = shlex.split(
    "--bf16 false --disable_tqdm true --max_steps 4 --logging_steps 1 --save_steps 2 --learning_rate 1e-2 "
    "--adam_epsilon 1e-3 "  # a step is then smooth in the gradient, whose rounding else decides on signs
    "--dataloader_drop_last true"  # accelerate fills an epoch's last batch up with others
)
KILLED = ("midtrain", "sft_choices", "rl")
MODES = ("ddp", "fsdp2")
QUESTION, LENGTH = "<|im_start|>user\nHistory:", 12
# vLLM as its users run it, with no code of ours; the engine in this process, so that all checkpoints need one import.
SERVE = """
import json, os, sys
os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1",
               "VLLM_CPU_OMP_THREADS_BIND": "nobind"}

def answer(folder, question, length):
    from vllm import LLM, SamplingParams
    llm = LLM(folder, dtype="float32", enforce_eager=True, max_model_len=512, generation_config="vllm")
    greedy = SamplingParams(max_tokens=length, min_tokens=length, temperature=0)
    return list(llm.generate([question], greedy, use_tqdm=False)[0].outputs[0].token_ids)

if __name__ == "__main__":
    question, length, *folders = sys.argv[1:]
    print(json.dumps([answer(folder, question, int(length)) for folder in folders]))
"""


@pytest.fixture(scope="module")
def inputs(world, tmp_path_factory) -> dict[str, list[str]]:
    """Words of every training: tables, a Qwen3 of 2 layers that knows the IDs, traces and a teacher's rankings."""
    folder = tmp_path_factory.mktemp("inputs")
    items, slates = ["--items", world.items, "--semantic_ids", world.semantic_ids], ["--slates", world.slates]
    events = ["--interactions", world.interactions]
    size = shlex.split("--hidden_size 64 --layers 2 --heads 2 --vocab_size 300 --context 1024 --passes 1 --max_steps 1")
    plain = shlex.split("--bf16 false --save_strategy no --disable_tqdm true")
    run_stage("midtrain", [*items, *events, *size, *plain, "--output_dir", str(folder / "base")])
    run_stage("template", [*items, *slates, "--prompt", "rejection", "--output_dir", str(folder / "traces")])
    popular = ["--items", world.items, *events, *slates, "--reranker", "popularity", "--split", "train"]
    run_stage("rerank", [*popular, "--output_dir", str(folder / "teacher")])
    base, traces = ["--model_name_or_path", str(folder / "base")], ["--traces", str(folder / "traces/traces.jsonl")]
    teacher = ["--teacher", str(folder / "teacher/rankings.parquet"), "--teacher_temperature", "3"]
    lists = shlex.split("--prompt student_no_trace --structured true --num_generations 4 --max_completion_length 110")
    packed = [*items, *events, *base, "--block_length", "64", "--passes", "2"]
    return {
        "midtrain_rows": [*packed, "--trainable", "rows"],
        "midtrain": packed,
        "sft": [*items, *slates, *base, *traces],
        "sft_choices": [*items, *slates, *base, *traces, *teacher],
        "rl": [*items, *slates, *base, *lists],
    }


def jobs(inputs: dict[str, list[str]], folder: Path, processes: int) -> list[tuple[str, list[str]]]:
    """Every training with a batch of 8 over all processes: (its stage, its words)."""
    size = ["--per_device_train_batch_size", str(8 // processes)]
    return [
        (name.partition("_")[0], [*words, *size, *COMMON, "--output_dir", str(folder / name)])
        for name, words in inputs.items()
    ]


@pytest.fixture(scope="module")
def alone(inputs, tmp_path_factory) -> Path:
    """All trainings in one process, this one."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        for stage, words in jobs(inputs, folder, 1):
            run_stage(stage, words)
    return folder


@pytest.fixture(scope="module")
def together(inputs, tmp_path_factory) -> dict[str, Path]:
    """By mode the same in two processes, killed in three of them after step 2 and started again."""
    folders = {mode: tmp_path_factory.mktemp(mode) for mode in MODES}
    for mode, folder in folders.items():
        todo = jobs(inputs, folder, 2)
        for name in KILLED:
            processes = start(mode, todo, folder)
            while all(process.is_alive() for process in processes) and not find_last_checkpoint(folder / name):
                time.sleep(0.01)
            kill(processes)
            assert not (folder / name / "manifest.json").exists(), f"{name} ended before it could be killed"
        assert "resuming from" in launch(mode, todo, folder)
    return folders


def read_log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["midtrain_rows", "midtrain", "sft", "sft_choices", "rl"])
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_end_as_one(inputs, alone, together, mode, name):
    """Loss, gradient norm and weights to 1e-4 in float32, over a resume; the weights in a plain checkpoint."""
    from transformers import AutoModelForCausalLM

    folder = together[mode] / name
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["processes"] == 2 and not list(folder.glob("checkpoint-*"))
    logs = [read_log(one) for one in (alone / name, folder)]
    for key in ("step", "loss", "grad_norm"):
        one, two = ([entry[key] for entry in log] for log in logs)
        assert len(one) == 4 and two == pytest.approx(one, abs=1e-4), key
    model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values())
    after = model.state_dict()
    before, expected = (load_file(folder / "model.safetensors") for folder in (base_of(inputs), alone / name))
    moved = {key: (after[key] - before[key]).abs().max().item() for key in before}
    assert max(moved.values()) > 0.01
    assert max((after[key] - expected[key]).abs().max().item() for key in before) < 1e-4
    if name == "midtrain_rows":
        table = after["model.embed_tokens.weight"] != before["model.embed_tokens.weight"]
        assert [key for key, distance in moved.items() if distance] == ["model.embed_tokens.weight"]
        assert table.any(1).nonzero().flatten().tolist() == id_tokens(load_tokenizer(str(base_of(inputs))))


def base_of(inputs: dict[str, list[str]]) -> Path:
    words = inputs["midtrain"]
    return Path(words[words.index("--model_name_or_path") + 1])


def answer(folder: str) -> list[int]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prompt = AutoTokenizer.from_pretrained(folder)(QUESTION, return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = model.generate(**prompt, max_new_tokens=LENGTH, min_new_tokens=LENGTH, do_sample=False)
    return ids[0, prompt["input_ids"].shape[1] :].tolist()


@pytest.mark.vllm
def test_plain_vllm_answers_from_the_checkpoints_as_plain_transformers_does(together, tmp_path):
    pytest.importorskip("vllm")
    folders = [str(folder / name) for folder in together.values() for name in ("sft", "rl")]
    (tmp_path / "serve.py").write_text(SERVE)
    command = [sys.executable, tmp_path / "serve.py", QUESTION, str(LENGTH), *folders]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path("/"))
    assert done.returncode == 0, done.stderr[-4000:]
    written = json.loads(done.stdout.splitlines()[-1])
    assert written == [answer(folder) for folder in folders] and {len(ids) for ids in written} == {LENGTH}
