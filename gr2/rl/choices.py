"""Structured answers of the policy while it is being trained: permutations of their slates by construction.

The policy is the list of decisions: tokens that were drawn among two or more. A decision's log-probability is taken
among the tokens that it was drawn from, and logits are computed for decisions alone.
"""

import copy
import json
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, PreTrainedModel, Trainer

from gr2.choices.reading import logits_at
from gr2.choices.walk import Drawing
from gr2.rl.decoding import answering_model, encode_prompts
from gr2.samplers.explanations import unpack
from gr2.samplers.structured import Structured, answer_structured, pack_decisions


def answer_by_choices(
    trainer: Trainer, rows: list[dict], generation: GenerationConfig, temperature: float, groups: bool
) -> tuple[list[list[int]], list[Structured]]:
    """The prompt's tokens and an answer for each row, under its column `schema`; seeds are torch's next numbers."""
    prompts = encode_prompts(trainer, [row["prompt"] for row in rows])
    generation = copy.deepcopy(generation)
    generation.eos_token_id = None  # the grammar ends it
    with answering_model(trainer) as model:
        answers = answer_structured(
            model,
            trainer.processing_class,
            prompts,
            schemas=[json.loads(row["schema"]) for row in rows],
            drawings=[Drawing(temperature, seed=seed) for seed in torch.randint(2**31, (len(rows),)).tolist()],
            max_tokens=trainer.max_completion_length,
            generation=generation,
            groups=groups,
            anyone=partial(is_any, trainer.accelerator),
        )
    return prompts, answers


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


def score_decisions(logits: Tensor, tokens: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of tokens [rows, decisions] and entropies, [rows, decisions], among those that are admitted.

    logits [rows, decisions, vocabulary], masks [rows, decisions, words].
    """
    admitted = unpack(masks, logits.shape[-1])
    logps = logits.masked_fill(~admitted, torch.finfo(logits.dtype).min).log_softmax(-1)
    chosen = logps.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    entropies = -(logps.exp() * logps.masked_fill(~admitted, 0.0)).sum(-1)
    return chosen, entropies


def score_answers(
    trainer: Trainer, model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, length: int, routed: dict
) -> tuple[Tensor, Tensor, Tensor | None]:
    """log-probabilities and entropies [rows, length] of the last `length` tokens, 0 for those that were forced.

    routed: what makes a mixture of experts return its balancing loss, the third value.
    """
    places, masks = trainer.batch.decisions
    rows = torch.arange(len(places), device=places.device)[:, None]
    columns = input_ids.shape[1] - length + places.clamp(min=0)
    with trainer.accelerator.autocast(), logits_at(trainer.accelerator.unwrap_model(model), rows, columns - 1):
        output = model(input_ids=input_ids, attention_mask=attention_mask, **routed)
    scores = score_decisions(output.logits.float() / trainer.temperature, input_ids[rows, columns], masks)
    empty = torch.zeros(len(places), length + 1, device=places.device)
    index = places.where(places >= 0, length)  # padding goes to a column that is cut off
    logps, entropies = (empty.scatter(1, index, score)[:, :-1] for score in scores)
    return logps, entropies, output.aux_loss if routed else None
