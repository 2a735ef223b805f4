"""Structured answers of the policy while it is being trained: permutations of their slates by construction.

The policy is the list of decisions: tokens that were drawn among two or more. A decision's log-probability is taken
among the tokens that it was drawn from (gr2/rl/scoring.py).
"""

import copy
import json
from collections.abc import Sequence
from functools import partial
from hashlib import sha256

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, Trainer

from gr2.choices.drawing import Drawing
from gr2.rl.decoding import answering_model, encode_prompts
from gr2.samplers.structured_answers import StructuredAnswer, answer_structured, pack_decisions


def answer_by_choices(
    trainer: Trainer, rows: list[dict], generation: GenerationConfig, temperature: float, groups: bool
) -> tuple[list[list[int]], list[StructuredAnswer]]:
    """The prompt's tokens and an answer for each row, under its column `schema`."""
    prompts = encode_prompts(trainer, [row["prompt"] for row in rows])
    generation = copy.deepcopy(generation)
    generation.eos_token_id = None  # the grammar ends it
    with answering_model(trainer) as model:
        answers = answer_structured(
            model,
            trainer.processing_class,
            prompts,
            schemas=[json.loads(row["schema"]) for row in rows],
            drawings=[Drawing(temperature, seed=seed) for seed in seeds_of(trainer, rows)],
            max_tokens=trainer.max_completion_length,
            generation=generation,
            groups=groups,
            anyone=partial(is_any, trainer.accelerator),
        )
    return prompts, answers


def seeds_of(trainer: Trainer, rows: list[dict]) -> list[int]:
    """Of each row's draws: a function of the run's seed, the step, the slate, and which of its group's answers this is.

    So the answers are the same on any number of processes.
    """
    step = trainer.args.seed, trainer.state.global_step, trainer._step % trainer.args.gradient_accumulation_steps
    first = trainer.accelerator.process_index * len(rows)
    names = [f"{step} {row['slate_id']} {(first + at) % trainer.num_generations}" for at, row in enumerate(rows)]
    return [int.from_bytes(sha256(name.encode()).digest()[:4]) for name in names]


def is_any(accelerator: Accelerator, here: bool) -> bool:
    """Whether it holds on any of the processes."""
    return bool(accelerator.gather(torch.tensor([here], device=accelerator.device)).any())


def roll_out_choices(prompts: list, trainer: Trainer, rows: list[dict]) -> dict[str, list | None]:
    """TRL's `rollout_func`: an answer to each row; `env_mask`, 1 for a token that was chosen; and its `decisions`."""
    groups = trainer.num_generations > 1
    prompt_ids, answers = answer_by_choices(trainer, rows, trainer.generation_config, trainer.temperature, groups)
    words = -(-len(trainer.processing_class) // 32)
    decisions = [pack_decisions(answer, words) for answer in answers]
    chosen = []
    for answer, (places, _) in zip(answers, decisions, strict=True):
        mask = np.zeros(len(answer.tokens), int)
        mask[places] = 1
        chosen.append(mask.tolist())
    completion_ids = [answer.tokens for answer in answers]
    rollouts = {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None}
    return rollouts | {"env_mask": chosen, "decisions": decisions}


def pad_decisions(decisions: Sequence[tuple[list[int], np.ndarray]], device: torch.device) -> list[Tensor]:
    """Places int64 [rows, decisions], -1 where there are no more, and masks int32 [rows, decisions, words]."""
    places = [torch.tensor(places, dtype=torch.int64) for places, _ in decisions]
    masks = [torch.from_numpy(mask) for _, mask in decisions]
    return [pad_sequence(rows, batch_first=True, padding_value=-1).to(device) for rows in (places, masks)]
