"""Seconds of a step of reinforcement learning on choices: rollouts, loss and update.

    python benchmarks/rl_step.py --model student --slates 4 --steps 2                                   # anywhere
    python benchmarks/rl_step.py --model smollm2-135m --slates 64 --micro 128                         # on a GPU

`gr2 rl --structured true`'s own trainer on invented slates of ten (decoding_tasks.py), eight answers each, reward
ndcg, bfloat16 on a GPU. The first step warms up and does not count. On an H200 the goal is 4 s for 64 slates: the step
took a minute when all tokens of an answer were decoded and scored (SmolLM2-135M).
"""

import argparse
import tempfile
import time
from functools import partial

import torch
from datasets import Dataset
from decoding_tasks import PROMPT, draw_slates, open_model
from transformers import TrainerCallback
from trl import GRPOConfig

from gr2.prompts.answer import parse
from gr2.rl.examples import build_rows
from gr2.rl.rewards import reward_functions
from gr2.rl.trainer import RerankingTrainer

ANSWERS, CANDIDATES = 8, 10


class Clock(TrainerCallback):
    """The seconds of each step."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_step_begin(self, *_, **__) -> None:
        self.started = time.perf_counter()

    def on_step_end(self, *_, **__) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self.started)
        print(f"step {len(self.seconds)}: {self.seconds[-1]:.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="student", choices=["student", "smollm2-135m"])
    parser.add_argument("--slates", type=int, default=64, help="slates of a step")
    parser.add_argument("--micro", type=int, help="answers of a micro-batch; default: all")
    parser.add_argument("--steps", type=int, default=3, help="steps that count")
    options = parser.parse_args()
    model, tokenizer = open_model(options.model)
    catalogue, slates = draw_slates(options.slates * (options.steps + 1), CANDIDATES)
    rows = build_rows(PROMPT, catalogue, tokenizer, None, slates)
    answers = options.slates * ANSWERS
    micro = options.micro or answers
    read = partial(parse, sids=catalogue.sid, has_trace=False)
    rewards = reward_functions("ndcg", 0.2, read, set(tokenizer.get_vocab().values()), 256, 0)
    clock, on_gpu = Clock(), torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        args = GRPOConfig(
            folder,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=answers // micro,
            num_generations=ANSWERS,
            max_completion_length=256,
            max_steps=options.steps + 1,
            learning_rate=1e-6,
            bf16=on_gpu,
            use_cpu=not on_gpu,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        data = Dataset.from_list(rows)
        more = {"processing_class": tokenizer, "max_resamples": 0, "structured": True, "callbacks": [clock]}
        RerankingTrainer(model, rewards, args, data, **more).train()
    mean = sum(clock.seconds[1:]) / options.steps
    print(f"{options.model}: {mean:.2f} s a step of {options.slates} slates x {ANSWERS} answers")
    if on_gpu:
        print(f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most")


if __name__ == "__main__":
    main()
