"""A model reading a batch of texts, several tokens at once, with logits at the places where something is chosen."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from gr2.choices.attention import Attention, RoomyCache, grouped_attention
from gr2.choices.walk import Plan


@contextmanager
def logits_at(model: PreTrainedModel, rows: Tensor, columns: Tensor) -> Iterator[None]:
    """Within it, `model(...)` computes logits at hidden[rows, columns] alone: logits [*rows.shape, vocabulary].

    Done where the last layer is called, so that whatever wraps the model, and what it does to its logits, stay.
    """

    def gather(_, inputs: tuple) -> Tensor:
        return inputs[0][rows, columns]

    hook = model.get_output_embeddings().register_forward_pre_hook(gather)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def return_all_logits(model: PreTrainedModel) -> Iterator[None]:
    """Within it the last layer of a model in half precision gives float32.

    A bfloat16 has 8 bits: near 16 logits would come in steps of an eighth, and equal ones keep the input order.
    """
    if model.dtype == torch.float32:
        yield
        return

    def compute(layer: torch.nn.Linear, inputs: tuple, _) -> Tensor:
        bias = None if layer.bias is None else layer.bias.float()
        return torch.nn.functional.linear(inputs[0].float(), layer.weight.float(), bias)

    hook = model.get_output_embeddings().register_forward_hook(compute)
    try:
        yield
    finally:
        hook.remove()


class Reading:
    """What a model has read of a batch of texts: keys and values, and which of them are text.

    visible: bool [rows, keys]. Padding, and what was read ahead but was not chosen, stays in the cache, unseen.
    """

    def __init__(self, model: PreTrainedModel, cache: DynamicCache, visible: Tensor):
        self.model, self.cache, self.visible = model, cache, visible
        self.attention = Attention.of(model)
        self.positions = (visible.cumsum(1) - 1).clamp(min=0)

    @classmethod
    def begin(
        cls, model: PreTrainedModel, texts: Sequence[list[int]], repeats: Sequence[int], groups: bool
    ) -> tuple[Self, list[list[int]]]:
        """Reads what all texts begin with, once; with `groups` also, in a second pass, each text up to its last token.

        repeats: each row's text. Returns the reading, and the tokens of each row that are still to be read.
        InputError for a model that cannot read ahead.
        """
        Attention.of(model)
        device, shared = model.device, shared_start(texts, 2 if groups else 1)
        cache = RoomyCache()
        if shared:
            start = torch.tensor([texts[0][:shared]], device=device)
            model(input_ids=start, past_key_values=cache, use_cache=True, logits_to_keep=1)
        rests = [text[shared:] for text in texts]
        visible = torch.ones(len(texts), shared, dtype=torch.bool, device=device)
        if groups:
            lengths = torch.tensor([len(rest) - 1 for rest in rests], device=device)
            width = int(lengths.max().clamp(min=1))
            ids = torch.tensor([rest[:-1] + [0] * (width + 1 - len(rest)) for rest in rests], device=device)
            expand_rows(cache, len(texts))
            model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)  # padding is on the right
            visible = torch.cat([visible, torch.arange(width, device=device) < lengths[:, None]], 1)
            rests = [rest[-1:] for rest in rests]
            cache.batch_select_indices(torch.tensor(repeats, device=device))
        else:
            expand_rows(cache, len(repeats))
        return cls(model, cache, visible[list(repeats)]), [rests[index] for index in repeats]

    def read(self, plans: Sequence[Plan | None]) -> list[list[list[float]]]:
        """Reads the plans' tokens in one pass: of each row, for each branch, the log-probabilities of its tokens.

        None: nothing is read in this row.
        """
        self._drop_unseen()
        tokens, decided, ancestors = lay_out(plans)
        device, width = self.model.device, tokens.shape[1]
        seen = torch.from_numpy(ancestors).to(device)
        depth = seen.sum(2) - 1
        position = self.visible.sum(1, keepdim=True) + depth
        visible = torch.cat([self.visible[:, None].expand(-1, width, -1), seen], 2)
        self.first = self.visible.shape[1]
        self.positions = torch.cat([self.positions, position], 1)
        self.visible = torch.cat([self.visible, torch.from_numpy(decided).to(device)], 1)
        places = [(row, index) for row, plan in enumerate(plans) if plan for index, _ in plan.branches]
        at = torch.tensor(places, dtype=torch.int64, device=device).view(-1, 2)
        branching = logits_at(self.model, at[:, 0], at[:, 1])
        with branching, return_all_logits(self.model), grouped_attention(self.model):
            logits = self.model(
                input_ids=torch.from_numpy(tokens).to(device),
                attention_mask=self.attention.mask(visible, position, self.positions),
                position_ids=position,
                past_key_values=self.cache,
                use_cache=True,
            ).logits
        return score_branches(logits, plans)

    def keep(self, chosen: Sequence[tuple[int, int]]) -> None:
        """These of the latest plans' tokens, (row, index), have become text."""
        rows, indices = torch.tensor(chosen, dtype=torch.int64).view(-1, 2).T.to(self.visible.device)
        self.visible[rows, self.first + indices] = True

    def _drop_unseen(self) -> None:
        """Moves text to the front and cuts the rest off, once most of what the cache holds is no text."""
        longest = int(self.visible.sum(1).max())
        if self.visible.shape[1] <= 2 * longest:
            return
        order = (~self.visible).long().argsort(stable=True, dim=1)[:, :longest]
        for layer in self.cache.layers:
            heads, size = layer.keys.shape[1], layer.keys.shape[3]
            index = order[:, None, :, None].expand(-1, heads, -1, size)
            layer.keys, layer.values = layer.keys.gather(2, index), layer.values.gather(2, index)
        self.visible, self.positions = self.visible.gather(1, order), self.positions.gather(1, order)


def lay_out(plans: Sequence[Plan | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tokens [rows, width], which of them are text [rows, width], and what each sees of them [rows, width, width]."""
    width = max((len(plan.tokens) for plan in plans if plan), default=1)
    tokens = np.zeros((len(plans), width), np.int64)
    decided = np.zeros((len(plans), width), bool)
    ancestors = np.zeros((len(plans), width, width), bool)
    ancestors[:, range(width), range(width)] = True  # padding sees itself, since nothing sees nothing
    for row, plan in enumerate(plans):
        if plan:
            tokens[row, : len(plan.tokens)] = plan.tokens
            decided[row, : plan.decided] = True
            ancestors[row, : plan.decided, : plan.decided] = np.tri(plan.decided, dtype=bool)
            for column, parent in enumerate(plan.parents, plan.decided):
                ancestors[row, column] |= ancestors[row, parent]
    return tokens, decided, ancestors


def shared_start(texts: Sequence[list[int]], spared: int) -> int:
    """How many tokens all of the texts begin with; the last `spared` ones of a text are left out."""
    first, last = min(texts), max(texts)
    most = max(min(map(len, texts)) - spared, 0)
    return next((index for index in range(most) if first[index] != last[index]), most)


def expand_rows(cache: DynamicCache, rows: int) -> None:
    """Gives each of the rows what the cache holds of one."""
    if cache.get_seq_length():
        cache.batch_repeat_interleave(rows)


def score_branches(logits: Tensor, plans: Sequence[Plan | None]) -> list[list[list[float]]]:
    """logits [branches, vocabulary], row by row -> log-probabilities among each branch's tokens."""
    branches = [among for plan in plans if plan for _, among in plan.branches]
    if not branches:  # a pass that was made for other processes
        return [[] for _ in plans]
    most = max(map(len, branches))
    padded = torch.tensor([among + [-1] * (most - len(among)) for among in branches], device=logits.device)
    values = logits.gather(1, padded.clamp(min=0)).double().masked_fill(padded < 0, -torch.inf)
    scores = iter(values.log_softmax(1).tolist())
    return [[next(scores)[: len(among)] for _, among in plan.branches] if plan else [] for plan in plans]
