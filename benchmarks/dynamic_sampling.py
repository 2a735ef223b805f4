"""What dynamic sampling costs when there is nothing to sample again: a step of ours against a step of stock
GRPOTrainer.

Both trainers take turns in one process, a few steps each, on the same tiny model, slates and answer length; every group
has spread. Prints one JSON line with the medians and their ratio.

    python benchmarks/dynamic_sampling.py --rounds 10
"""

import argparse
import json
import statistics
import tempfile
import time

import torch
from datasets import Dataset
from transformers import TrainerCallback
from transformers.utils import logging
from trl import GRPOConfig, GRPOTrainer

from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.rl.trainer import RerankingTrainer


class StepTimes(TrainerCallback):
    """Seconds of every step but a turn's first, and the processor's, which other programs do not disturb."""

    def __init__(self):
        self.steps: list[tuple[float, float]] = []

    def on_step_begin(self, args, state, control, **_) -> None:
        self.started = time.perf_counter(), time.process_time()

    def on_step_end(self, args, state, control, **_) -> None:
        if state.global_step > 1:
            self.steps.append((time.perf_counter() - self.started[0], time.process_time() - self.started[1]))

    def medians(self) -> list[float]:
        return [statistics.median(column) for column in zip(*self.steps, strict=True)]


def sum_tokens(completion_ids: list[list[int]], **_) -> list[float]:
    return [float(sum(ids)) for ids in completion_ids]


def make_trainer(cls: type, folder: str, tokens: int, steps: int, **options) -> tuple[GRPOTrainer, StepTimes]:
    tokenizer = train_tokenizer(["slate 0 1 2 3"], 300)
    rows = [{"prompt": [{"role": "user", "content": f"slate {n}"}], "slate_id": str(n)} for n in range(64)]
    sizes = {"per_device_train_batch_size": 32, "num_generations": 8, "max_completion_length": tokens}
    quiet = {"save_strategy": "no", "report_to": "none", "disable_tqdm": True, "logging_steps": 1000, "bf16": False}
    decoding = {"min_new_tokens": tokens}
    config = GRPOConfig(folder, **sizes, **quiet, generation_kwargs=decoding, max_steps=steps + 1, learning_rate=0.0)
    times = StepTimes()
    model = small_model(tokenizer, 64, 2, 2, 512, seed=0)
    data = Dataset.from_list(rows)
    trainer = cls(model, sum_tokens, config, data, processing_class=tokenizer, callbacks=[times], **options)
    return trainer, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="turns of each trainer")
    parser.add_argument("--steps", type=int, default=4, help="steps a turn that are counted")
    parser.add_argument("--tokens", type=int, default=64, help="length of every answer")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        stock, stock_times = make_trainer(GRPOTrainer, folder, arguments.tokens, arguments.steps)
        ours, our_times = make_trainer(RerankingTrainer, folder, arguments.tokens, arguments.steps, max_resamples=8)
        for index in range(arguments.rounds):
            for turn in (stock, ours) if index % 2 else (ours, stock):
                turn.train()
    assert not any(entry.get("resamples") for entry in ours.state.log_history)
    theirs, own = stock_times.medians(), our_times.medians()
    seconds = {"stock_s": round(theirs[0], 4), "dynamic_s": round(own[0], 4), "ratio": round(own[0] / theirs[0], 3)}
    print(json.dumps(seconds | {"processor_ratio": round(own[1] / theirs[1], 3), "steps": len(our_times.steps)}))


if __name__ == "__main__":
    main()
