"""Beam search for high-value lists (DeGRe, 2605.25749); exhaustive when `beams` is at least the number of lists."""

from math import log2
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from gr2.rerankers.degre.lookahead import Labels, Lookahead, ValueMixture
from gr2.rerankers.list_writer.batch import NONE


class MinedLists(NamedTuple):
    """Lists of n requests, B of each, best first."""

    lists: Tensor  # int64 [n, B, m] of indices
    scores: Tensor  # float [n, B], -inf where a request has no more lists
    values: Tensor  # float [n, B, m, K], V of each list's prefix with each candidate appended


def mine(lookahead: Lookahead | Labels | ValueMixture, mask: Tensor, size: int, beams: int) -> MinedLists:
    """The search's `beams` best lists for each request, of `size` items or all its candidates; mask: bool [n, K]."""
    (n, count), device = mask.shape, mask.device
    lists = torch.full((n, 1, size), NONE, device=device)
    values = torch.zeros(n, 1, size, count, device=device)
    total, before, left = torch.zeros(n, 1, device=device), torch.zeros(n, 1, device=device), mask[:, None]
    for position in range(size):
        width = lists.shape[1]
        value = lookahead.values(n * width).view(n, width, count)
        over = ~left.any(2, keepdim=True)  # nothing left: the list goes on without an item, once
        allowed = left | over & (torch.arange(count, device=device) == 0)
        gain = torch.where(over, 0.0, (value - before[..., None]) / log2(position + 2))
        reached = (total[..., None] + gain).masked_fill(~allowed, -torch.inf).flatten(1)
        total, best = reached.topk(min(beams, width * count), dim=1)
        parent, chosen = best // count, best % count
        rows = torch.arange(n, device=device)[:, None]
        ended = over[rows, parent, 0]
        before = torch.where(ended, before[rows, parent], value[rows, parent, chosen])
        lists, values, left = lists[rows, parent], values[rows, parent], left[rows, parent].clone()
        lists[:, :, position] = chosen.masked_fill(ended, NONE)
        values[:, :, position] = value[rows, parent]
        left.scatter_(2, chosen[..., None], False)
        if position + 1 < size:  # whole lists are not extended
            lookahead.keep((parent + rows * width).flatten(), chosen.flatten())
    missing = beams - lists.shape[1]
    return MinedLists(
        lists=pad(lists, (0, 0, 0, missing), value=NONE),
        scores=pad(total, (0, missing), value=-torch.inf),
        values=pad(values, (0, 0, 0, 0, 0, missing)),
    )
