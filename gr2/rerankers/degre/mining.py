"""Lists that nobody was shown, found by beam search under the evaluator (DeGRe, 2605.25749); with room for all, an enumeration."""

from math import log2
from typing import NamedTuple

import torch
from torch.nn.functional import pad

from gr2.rerankers.degre.lookahead import Labels, Lookahead
from gr2.rerankers.list_writer.batch import NONE


class Mined(NamedTuple):
    """lists: int64 [n, B, m], places, best first; scores: float [n, B], -inf where a request has no more lists; values: float
    [n, B, m, K], V of each list's prefix with each candidate appended."""

    lists: torch.Tensor
    scores: torch.Tensor
    values: torch.Tensor


def mine(lookahead: Lookahead | Labels, there: torch.Tensor, size: int, beams: int) -> Mined:
    """The `beams` best lists of at most `size` items for each request by the search; there: bool [n, K]."""
    (n, count), device = there.shape, there.device
    lists = torch.full((n, 1, size), NONE, device=device)
    values = torch.zeros(n, 1, size, count, device=device)
    total, before, left = torch.zeros(n, 1, device=device), torch.zeros(n, 1, device=device), there[:, None]
    for place in range(size):
        width = lists.shape[1]
        value = lookahead.values(n * width).view(n, width, count)
        over = ~left.any(2, keepdim=True)  # nothing left: the list goes on without an item, once
        open_ = left | over & (torch.arange(count, device=device) == 0)
        gained = torch.where(over, 0.0, (value - before[..., None]) / log2(place + 2))
        reached = (total[..., None] + gained).masked_fill(~open_, -torch.inf).flatten(1)
        total, best = reached.topk(min(beams, width * count), dim=1)
        parent, chosen = best // count, best % count
        rows = torch.arange(n, device=device)[:, None]
        ended = over[rows, parent, 0]
        before = torch.where(ended, before[rows, parent], value[rows, parent, chosen])
        lists, values, left = lists[rows, parent], values[rows, parent], left[rows, parent].clone()
        lists[:, :, place] = chosen.masked_fill(ended, NONE)
        values[:, :, place] = value[rows, parent]
        left.scatter_(2, chosen[..., None], False)
        if place + 1 < size:  # of whole lists nothing more is asked
            lookahead.keep((parent + rows * width).flatten(), chosen.flatten())
    missing = beams - lists.shape[1]
    return Mined(pad(lists, (0, 0, 0, missing), value=NONE), pad(total, (0, missing), value=-torch.inf),
                 pad(values, (0, 0, 0, 0, 0, missing)))  # fmt: skip
