"""Lists a second: token by token under a grammar, choice by choice, and scores of the first choice alone.

    python benchmarks/decoding.py --slates 16 --rounds 1                  # a few minutes on two cores
    python benchmarks/decoding.py --slates 1024 --batch 512 --json a.json # on a GPU
    python benchmarks/decoding.py --rollouts --slates 64 --models smollm2-135m --candidates 10

The student is as large as the demo's. Items are invented, with IDs of 4 levels of 256 codes, a tenth of which share
their first two codes with another candidate; histories of 1 to 20 items; the prompt of a student without traces. The
ID tokens' weights are random: times do not depend on what a model knows. Slates are sorted by the length of their
prompts, as a sampler sorts them. All systems see the same batches in one run, rounds alternate, the median counts.
Token by token is what gr2 did before (token_by_token.py). `equal`: the share of greedy lists that are token by token's.
CPU ratio: of the seconds of the process on all cores, which other programs on the machine disturb least. GB: the
largest memory of a CUDA device.
--rollouts: what RL samples, 8 lists of each slate at temperature 1, all slates in one batch.
Exits 1 where, on a CPU, SmolLM2-135M with the most candidates given writes choices less than 4 times as fast as token
by token, or scores first choices less than 10 times as fast.
"""

import argparse
import copy
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from decoding_tasks import Task, draw_tasks, open_model
from token_by_token import generate_answers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gr2.choices.walk import Drawing
from gr2.choices.write import begin, score_first, write_lists

GROUP = 8  # lists of each slate in RL
GOALS = {"choices": 4.0, "first choice": 10.0}
BEFORE = "token by token"
COLUMNS = "model", "candidates", "prompt", "answer", "system", "lists/s", "ratio", "CPU ratio", "passes", "equal", "GB"


Batch = list[Task]
System = tuple[PreTrainedModel, Callable[[Batch], list]]  # a model, and what is done with it: an answer for each task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["student", "smollm2-135m"])
    parser.add_argument("--candidates", type=int, nargs="+", default=[10, 20, 50])
    parser.add_argument("--slates", type=int, default=48)
    parser.add_argument("--batch", type=int, default=16, help="slates per batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rollouts", action="store_true", help="what RL samples")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    size = options.slates if options.rollouts else options.batch
    print(f"{device}, batches of {size}\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    rows = []
    for name in options.models:
        model, tokenizer = open_model(name)
        systems = rollout_systems(model, tokenizer) if options.rollouts else greedy_systems(model, tokenizer)
        for count in options.candidates:
            tasks = draw_tasks(tokenizer, options.slates, count)
            batches = [tasks[first : first + size] for first in range(0, len(tasks), size)]
            for row in compare(systems, batches, options.rounds):
                rows.append({"model": name, "candidates": count} | row)
                print(f"| {' | '.join(str(rows[-1][column]) for column in COLUMNS)} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"device": device, "batch": size, "rows": rows}, indent=1))
    sys.exit(not options.rollouts and not cuda and any(is_slow(row, max(options.candidates)) for row in rows))


def is_slow(row: dict, candidates: int) -> bool:
    counts = row["model"] == "smollm2-135m" and row["candidates"] == candidates
    return counts and row["ratio"] < GOALS.get(row["system"], 0)


def greedy_systems(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, System]:
    """As `gr2 rerank` runs them, on a GPU with weights in bfloat16. Each gives lists, the last one scores."""
    if model.device.type == "cuda":
        model.bfloat16()

    def by_token(batch: Batch) -> list[str]:
        return write_by_token(model, tokenizer, batch)

    def by_choice(batch: Batch) -> list[str]:
        writers = [task.writer(Drawing()) for task in batch]
        write_lists(begin(model, writers), writers)
        return [write(task, writer.order) for task, writer in zip(batch, writers, strict=True)]

    def by_first(batch: Batch) -> list:
        writers = [task.writer(Drawing()) for task in batch]
        return score_first(begin(model, writers), writers)

    return {BEFORE: (model, by_token), "choices": (model, by_choice), "first choice": (model, by_first)}


def rollout_systems(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, System]:
    """A group of lists of each task; the weights that are trained are float32, a copy of them is not."""

    def by_token(batch: Batch, cache: str | None) -> list[str]:
        with mixed_precision(model):
            return write_by_token(model, tokenizer, [task for task in batch for _ in range(GROUP)], True, cache)

    def by_choice(sampled: PreTrainedModel, batch: Batch) -> list[list[int]]:
        writers = [task.writer(Drawing(1.0, seed=seed)) for task in batch for seed in range(GROUP)]
        write_lists(begin(sampled, writers, groups=True), writers)
        return [writer.order for writer in writers]

    def by_choice_mixed(batch: Batch) -> list[list[int]]:
        with mixed_precision(model):
            return by_choice(model, batch)

    half = copy.deepcopy(model).bfloat16()
    static = {"token by token, static cache": (model, partial(by_token, cache="static"))}
    return {
        BEFORE: (model, partial(by_token, cache=None)),
        **(static if model.device.type == "cuda" else {}),
        "choices, mixed precision": (model, by_choice_mixed),
        "choices, bfloat16 copy": (half, partial(by_choice, half)),
    }


def mixed_precision(model: PreTrainedModel) -> torch.autocast:
    return torch.autocast(model.device.type, torch.bfloat16)


def write_by_token(model, tokenizer, batch: Batch, sampled: bool = False, cache: str | None = None) -> list[str]:
    longest = max(task.answer_tokens for task in batch) + len(batch[0].sids)  # an ID may be written in other tokens
    prompts, schemas = [task.prompt for task in batch], [task.schema for task in batch]
    return generate_answers(model, tokenizer, prompts, schemas, longest, sampled, cache)


def write(task: Task, order: list[int]) -> str:
    return json.dumps({"recommendations": [task.sids[index] for index in order]})


def compare(systems: dict[str, System], batches: list[Batch], rounds: int) -> list[dict]:
    """A row for each system: its lists a second, and how many times those of the first one."""
    seconds, cpu_seconds, answers, passes, gigabytes = defaultdict(list), defaultdict(list), {}, {}, {}
    for _ in range(rounds):
        for name, (model, answer) in systems.items():
            answers[name], seen = [], []
            hook = model.register_forward_pre_hook(lambda *_, seen=seen: seen.append(1))
            if model.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            started, cpu_started = time.perf_counter(), time.process_time()
            with torch.inference_mode():
                for batch in batches:
                    answers[name] += answer(batch)  # on this side of the device: nothing is left to wait for
            seconds[name].append(time.perf_counter() - started)
            cpu_seconds[name].append(time.process_time() - cpu_started)
            hook.remove()
            passes[name] = len(seen) / len(batches)
            gigabytes[name] = round(torch.cuda.max_memory_allocated() / 1e9, 2) if model.device.type == "cuda" else "-"
    tasks = [task for batch in batches for task in batch]
    before, *_ = systems
    rows = []
    for name in systems:
        took = statistics.median(seconds[name])
        same = sum(a == b for a, b in zip(answers[name], answers[before], strict=True))
        rows.append(
            {
                "prompt": round(np.mean([len(task.prompt) for task in tasks])),
                "answer": round(np.mean([task.answer_tokens for task in tasks])),
                "system": name,
                "lists/s": round(len(answers[name]) / took, 2),
                "ratio": round(statistics.median(seconds[before]) / took, 2),
                "CPU ratio": round(statistics.median(cpu_seconds[before]) / statistics.median(cpu_seconds[name]), 2),
                "passes": round(passes[name], 1),
                "equal": round(same / len(tasks), 3) if name == "choices" else "-",
                "GB": gigabytes[name],
            }
        )
    return rows


if __name__ == "__main__":
    main()
