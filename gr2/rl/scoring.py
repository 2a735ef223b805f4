"""What the policy's decisions are worth under a model: the answers to a slate share one reading of their prompt.

A group's answers stand behind their prompt in one row, at the positions that they had alone, and do not see each other.
The result, gradients included, is the same as if each answer had been read alone with the prompt.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, Trainer

from gr2.choices.attention import Attention
from gr2.choices.reading import logits_at
from gr2.samplers.explanations import unpack


@dataclass(frozen=True)
class PackedAnswers:
    """Rows of one prompt each, with its answers behind it.

    ids, position: [prompts, width]. visible: bool [prompts, width, width]. row: each answer's row; start: where it
    begins there.
    """

    ids: Tensor
    position: Tensor
    visible: Tensor
    row: Tensor
    start: Tensor


def score_answers(
    trainer: Trainer, model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, length: int, **options
) -> tuple[Tensor, Tensor, Tensor | None]:
    """log-probabilities and entropies [rows, length] of the last `length` tokens, 0 for those that were forced.

    options: as TRL has them: batch_size, rows at once; compute_aux_loss, which makes a mixture of experts return its
    balancing loss, the third value.
    """
    routed = {"output_router_logits": True} if options.get("compute_aux_loss") else {}
    size, parts = options.get("batch_size") or len(input_ids), []
    for start in range(0, len(input_ids), size):
        part = slice(start, start + size)
        decisions = [tensor[part] for tensor in trainer.batch.decisions]
        parts.append(score_part(trainer, model, input_ids[part], attention_mask[part], length, decisions, routed))
    logps, entropies, losses = zip(*parts, strict=True)
    return torch.cat(logps), torch.cat(entropies), torch.stack(losses).mean() if routed else None


def score_part(
    trainer: Trainer,
    model: PreTrainedModel,
    input_ids: Tensor,
    attention_mask: Tensor,
    length: int,
    decisions: list[Tensor],
    routed: dict,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As `score_answers`, of rows that are scored together, and their `decisions`."""
    places, masks = decisions
    index, prompt = places.clamp(min=0), input_ids.shape[1] - length
    used = int(index.max()) + 1  # what comes after the last decision changes nothing
    plain = trainer.accelerator.unwrap_model(model)
    if routed:  # a mixture's loss counts the tokens of a plain mask
        row = torch.arange(len(places), device=places.device)[:, None]
        before = prompt + index - 1
        inputs = {"input_ids": input_ids[:, : prompt + used], "attention_mask": attention_mask[:, : prompt + used]}
    else:
        answers = input_ids[:, prompt : prompt + used]
        packed = pack(input_ids[:, :prompt], attention_mask[:, :prompt].bool(), answers)
        row, before = packed.row[:, None], torch.where(index == 0, prompt, packed.start[:, None] + index) - 1
        mask = Attention.of(plain).mask(packed.visible, packed.position, packed.position)
        inputs = {"input_ids": packed.ids, "attention_mask": mask, "position_ids": packed.position}
    with trainer.accelerator.autocast(), logits_at(plain, row, before):
        output = model(**inputs, use_cache=False, **routed)
    tokens = input_ids[:, prompt:].gather(1, index)
    scores = score_decisions(output.logits.float() / trainer.temperature, tokens, masks)
    empty = torch.zeros(len(places), length + 1, device=places.device)
    column = places.where(places >= 0, length)  # padding goes to a column that is cut off
    logps, entropies = (empty.scatter(1, column, score)[:, :-1] for score in scores)
    return logps, entropies, output.aux_loss if routed else None


def pack(prompts: Tensor, real: Tensor, answers: Tensor) -> PackedAnswers:
    """prompts [rows, time], padded on the left where not `real`; answers [rows, length]."""
    distinct: dict[tuple[int, ...], int] = {}
    row = [distinct.setdefault(tuple(ids), len(distinct)) for ids in prompts.masked_fill(~real, -1).tolist()]
    block = [row[:index].count(prompt) for index, prompt in enumerate(row)]  # an answer's number behind its prompt
    most, device, (time, length) = max(block) + 1, prompts.device, (prompts.shape[1], answers.shape[1])
    row, block = torch.tensor(row, device=device), torch.tensor(block, device=device)
    behind = answers.new_zeros(len(distinct), most, length)
    behind[row, block] = answers
    before, shown = prompts.new_zeros(len(distinct), time), real.new_zeros(len(distinct), time)
    before[row], shown[row] = prompts, real
    ids = torch.cat([before, behind.flatten(1)], 1)
    steps = torch.arange(length, device=device).repeat(most)
    position = torch.cat([(shown.cumsum(1) - 1).clamp(min=0), shown.sum(1, keepdim=True) + steps], 1)
    column = torch.arange(ids.shape[1], device=device)
    owner = torch.where(column < time, -1, (column - time) // length)  # -1: the prompt
    causal = (column <= column[:, None]) & ((owner == -1) | (owner == owner[:, None]))
    keys = torch.cat([shown, shown.new_ones(len(distinct), most * length)], 1)
    itself = torch.eye(len(column), dtype=torch.bool, device=device)  # padding sees itself: nothing sees nothing
    return PackedAnswers(ids, position, causal & keys[:, None] | itself, row, time + block * length)


def score_decisions(logits: Tensor, tokens: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of tokens [rows, decisions] and entropies, [rows, decisions], among those that are admitted.

    logits [rows, decisions, vocabulary], masks [rows, decisions, words].
    """
    admitted = unpack(masks, logits.shape[-1])
    logps = logits.masked_fill(~admitted, torch.finfo(logits.dtype).min).log_softmax(-1)
    chosen = logps.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    entropies = -(logps.exp() * logps.masked_fill(~admitted, 0.0)).sum(-1)
    return chosen, entropies
