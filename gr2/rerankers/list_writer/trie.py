"""A request's trie of semantic IDs, level by level: which codes lead on, and what the candidates behind a code say."""

import torch
from torch import Tensor


def admitted(codes: Tensor, left: Tensor, width: int) -> Tensor:
    """A level's codes of the candidates [n, K], and which are left at each position [n, m, K] -> bool [n, m, width]:
    the codes that continue a path of the request's trie.
    """
    table = torch.zeros(*left.shape[:2], width, device=left.device)
    index = codes.clamp(min=0)[:, None].expand_as(left)
    return table.scatter_reduce_(2, index, left.float(), "amax").bool()


def pool(scores: Tensor, codes: Tensor, left: Tensor, width: int) -> Tensor:
    """Scores [n, t, K] of candidates, their codes at a level [n, K], those left [n, t, K] -> log sum exp of the scores
    of those left under each code, float [n, t, width]; a very low number where there are none.

    With nothing added, the codes of an item together have the probability that a softmax over candidates gives it.
    """
    top = scores.masked_fill(~left, torch.finfo(scores.dtype).min).amax(-1, keepdim=True)
    weights = (scores - top).clamp(max=0).exp() * left
    table = torch.zeros(*left.shape[:2], width, device=left.device)
    table = table.scatter_add(2, codes.clamp(min=0)[:, None].expand_as(left), weights)
    return table.clamp(min=torch.finfo(table.dtype).tiny).log() + top
