"""The value of prefixes of lists with each candidate appended: by the evaluator, or by the labels.

A list's score is its discounted gain in value: sum_t (V_t - V_(t-1)) / log2(t + 1). The paper scores by V alone
(2605.25749), which is the same for all orders of a list's items; with the discount an order counts, as it does in NDCG.
"""

import torch
from torch import Tensor

from gr2.rerankers.degre.evaluator import Evaluator
from gr2.rerankers.degre.inputs import EvaluatorInput
from gr2.rerankers.list_writer.batch import NONE


class Lookahead:
    """Prefixes of equal length, equally many for every request and adjacent; at first one empty one each."""

    def __init__(self, evaluator: Evaluator, seen: EvaluatorInput):
        self.evaluator = evaluator
        self.items, self.memory, self.memory_mask = evaluator.encode(seen)
        self.past, self.alternatives, self.length = None, None, 0

    def values(self, rows: int) -> Tensor:
        """V of every prefix with each of its request's candidates appended, float [rows, K]; taken ones too."""
        step = self.evaluator.step.weight[self.length]
        states = (self.items + step).repeat_interleave(rows // len(self.items), 0)
        states, self.alternatives = self.evaluator.decoder(states, self.memory, self.memory_mask, self.past, apart=True)
        length = torch.tensor([self.length + 1], device=states.device)
        return self.evaluator.probabilities(self.evaluator.logits(states), length).sum(-1)

    def keep(self, rows: Tensor, chosen: Tensor) -> None:
        """Goes on with these prefixes: row `rows[r]` with candidate `chosen[r]`, both int64 [rows]."""
        index = chosen[:, None, None, None] + self.length

        def select(cached: Tensor) -> Tensor:
            """[rows, heads, length + K, size] -> [rows, heads, length + 1, size]"""
            cached = cached[rows]
            appended = cached.gather(2, index.expand(-1, cached.shape[1], 1, cached.shape[3]))
            return torch.cat([cached[:, :, : self.length], appended], 2)

        self.past = [(select(key), select(value)) for key, value in self.alternatives]
        self.length += 1


class Labels:
    """`Lookahead` with ground truth: V is the number of relevant items so far. For training without an evaluator."""

    def __init__(self, labels: Tensor):
        self.relevant = (labels > 0).float()
        self.total = self.relevant.new_zeros(len(labels))

    def values(self, rows: int) -> Tensor:
        self.appended = self.total[:, None] + self.relevant.repeat_interleave(rows // len(self.relevant), 0)
        return self.appended

    def keep(self, rows: Tensor, chosen: Tensor) -> None:
        self.total = self.appended[rows].gather(1, chosen[:, None]).squeeze(1)


class ValueMixture:
    """Values by two, the second with this weight."""

    def __init__(self, first: Lookahead, second: Labels, weight: float):
        self.first, self.second, self.weight = first, second, weight

    def values(self, rows: int) -> Tensor:
        return torch.lerp(self.first.values(rows), self.second.values(rows), self.weight)

    def keep(self, rows: Tensor, chosen: Tensor) -> None:
        self.first.keep(rows, chosen)
        self.second.keep(rows, chosen)


def score_lists(evaluator: Evaluator | None, seen: EvaluatorInput, labels: Tensor, lists: Tensor) -> Tensor:
    """Scores float [n, lists] of lists of indices int64 [n, lists, m], by the evaluator; without one, by the labels."""
    lengths = torch.arange(1, lists.shape[2] + 1, device=lists.device)
    if evaluator:
        values = evaluator.probabilities(evaluator.prefix_logits(seen, lists), lengths).sum(-1)
    else:
        relevant = (labels > 0).float()[:, None].expand(-1, lists.shape[1], -1)
        values = relevant.gather(2, lists.clamp(min=0)).cumsum(2)
    gains = values.diff(dim=2, prepend=torch.zeros_like(values[..., :1]))
    return (gains.masked_fill(lists == NONE, 0.0) / (lengths + 1).log2()).sum(2)
