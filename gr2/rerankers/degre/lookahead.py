"""Prefixes of lists, and what they are worth with each candidate appended: by the evaluator, or by the labels.

A list's score is the gain in value at each place, discounted: sum_t (V_t - V_(t-1)) / log2(t + 1). The paper scores by V alone
(2605.25749), which is the same for all orders of a list's items; with the discount an order counts, as it does in NDCG.
"""

import torch

from gr2.rerankers.degre.evaluator import Evaluator
from gr2.rerankers.list_writer.batch import NONE, Requests


class Lookahead:
    """Along prefixes of equal length, the same number for every request, a request's side by side; at first one empty one each."""

    def __init__(self, evaluator: Evaluator, requests: Requests):
        self.evaluator = evaluator
        self.memory, self.seen = evaluator.read(requests)
        self.items = evaluator.items(requests.candidates)
        self.past, self.seen_so_far, self.length = None, None, 0

    def values(self, rows: int) -> torch.Tensor:
        """V of every prefix with each of its request's candidates appended, float [rows, K]; also where one is taken."""
        step = self.evaluator.step.weight[self.length]
        states = (self.items + step).repeat_interleave(rows // len(self.items), 0)
        states, self.seen_so_far = self.evaluator.decoder(states, self.memory, self.seen, self.past, apart=True)
        length = torch.tensor([self.length + 1], device=states.device)
        return self.evaluator.probabilities(self.evaluator.logits(states), length).sum(-1)

    def keep(self, rows: torch.Tensor, chosen: torch.Tensor) -> None:
        """The prefixes from here on: number `rows[r]` with candidate `chosen[r]`, both int64 [rows]."""
        picked = chosen[:, None, None, None] + self.length
        self.past = [
            tuple(
                torch.cat(
                    [
                        kept[rows, :, : self.length],
                        kept[rows].gather(2, picked.expand(-1, *kept.shape[1:2], 1, kept.shape[3])),
                    ],
                    2,
                )
                for kept in layer
            )
            for layer in self.seen_so_far
        ]
        self.length += 1


class Labels:
    """The same by the labels: V counts what is relevant. An evaluator that is always right, on slates that are known."""

    def __init__(self, labels: torch.Tensor):
        self.relevant = (labels > 0).float()
        self.total = self.relevant.new_zeros(len(labels))

    def values(self, rows: int) -> torch.Tensor:
        self.worth = self.total[:, None] + self.relevant.repeat_interleave(rows // len(self.relevant), 0)
        return self.worth

    def keep(self, rows: torch.Tensor, chosen: torch.Tensor) -> None:
        self.total = self.worth[rows].gather(1, chosen[:, None]).squeeze(1)


def score(evaluator: Evaluator | None, requests: Requests, labels: torch.Tensor, lists: torch.Tensor) -> torch.Tensor:
    """Scores of lists int64 [n, lists, m], places, by the evaluator, without one by the labels: float [n, lists]."""
    lengths = torch.arange(1, lists.shape[2] + 1, device=lists.device)
    if evaluator:
        values = evaluator.probabilities(evaluator.along(requests, lists), lengths).sum(-1)
    else:
        relevant = (labels > 0).float()[:, None].expand(-1, lists.shape[1], -1)
        values = relevant.gather(2, lists.clamp(min=0)).cumsum(2)
    gains = values.diff(dim=2, prepend=torch.zeros_like(values[..., :1]))
    return (gains.masked_fill(lists == NONE, 0.0) / (lengths + 1).log2()).sum(2)
