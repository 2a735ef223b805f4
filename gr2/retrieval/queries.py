"""Users' sequences as flat arrays, the positions at which a list is wanted, and what a pre-ranker is.

Items are rows of the items file. A pre-ranker is a function from queries to the top items of each; an answer looks at
what came before its position and at nothing else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Top = tuple[np.ndarray, np.ndarray]  # int32 items [n, K], best first, -1 where there are fewer; float32 scores [n, K]


@dataclass(frozen=True)
class Queries:
    """Query i asks what follows items[start[i]:at[i]], the user's whole past.

    items: int32 [events], of all users, each user's oldest first. start, at: int64 [n], with start < at.
    """

    items: np.ndarray
    start: np.ndarray
    at: np.ndarray

    def __len__(self) -> int:
        return len(self.at)

    def blocks(self, size: int) -> Iterator["Queries"]:
        for first in range(0, len(self), size):
            yield Queries(self.items, self.start[first : first + size], self.at[first : first + size])

    def only(self, kept: np.ndarray) -> "Queries":
        """Those where `kept`, bool [n]."""
        return Queries(self.items, self.start[kept], self.at[kept])

    def history(self, longest: int) -> np.ndarray:
        """The latest items before each position, oldest first: int32 [n, longest], -1 on the left where fewer."""
        index = self.at[:, None] - np.arange(longest, 0, -1)
        return np.where(index >= self.start[:, None], self.items[np.maximum(index, 0)], -1)

    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Every (query, item) of the pasts, one after the other: two int arrays of equal length."""
        lengths = self.at - self.start
        query = np.repeat(np.arange(len(self)), lengths)
        index = np.arange(len(query)) + np.repeat(self.start - (lengths.cumsum() - lengths), lengths)
        return query, self.items[index]


Ranker = Callable[[Queries], Top]


def collect(query: np.ndarray, items: np.ndarray, scores: np.ndarray, shape: tuple[int, int]) -> Top:
    """Lists of the given shape [n, K] from entries that come query by query, the best first; only the first K count."""
    rank = np.arange(len(query)) - np.searchsorted(query, query)
    kept = rank < shape[1]
    top, values = np.full(shape, -1, np.int32), np.full(shape, -np.inf, np.float32)
    top[query[kept], rank[kept]], values[query[kept], rank[kept]] = items[kept], scores[kept]
    return top, values


def best(scores: np.ndarray, queries: Queries, count: int, exclude_seen: bool) -> Top:
    """The top of dense scores, float32 [n, items], which it changes; -inf is never listed; ties are fixed."""
    import torch

    if exclude_seen:
        scores[queries.seen()] = -np.inf
    values, items = torch.from_numpy(scores).topk(min(count, scores.shape[1]))
    top, top_scores = np.full((len(queries), count), -1, np.int32), np.full((len(queries), count), -np.inf, np.float32)
    top[:, : items.shape[1]] = np.where(np.isneginf(values), -1, items)  # a catalogue may hold fewer than `count`
    top_scores[:, : items.shape[1]] = values
    return top, top_scores
