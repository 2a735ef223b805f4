"""Each candidate of some slates with each item of its slate's history: what features compare and sum up."""

from functools import cached_property

import numpy as np


class Pairs:
    """Flat arrays over all pairs, candidate by candidate, each candidate's from the oldest item to the last.

    candidates, histories: a list of item rows per slate, none empty. Attributes: `candidate`, `past`, the rows of each
    pair's items; `sizes`, candidates per slate; `lengths`, items of the history, per candidate.
    """

    def __init__(self, candidates: list[list[int]], histories: list[list[int]]):
        self.sizes = np.array([len(rows) for rows in candidates])
        self.rows = np.concatenate(candidates).astype(np.int64)
        self.lengths = np.repeat([len(rows) for rows in histories], self.sizes)
        self.ends = self.lengths.cumsum()
        self.starts = self.ends - self.lengths
        self.candidate = np.repeat(self.rows, self.lengths)
        self.past = np.concatenate([np.tile(rows, size) for rows, size in zip(histories, self.sizes, strict=True)])

    @cached_property
    def age(self) -> np.ndarray:
        """0 for a pair with the last item of the history, 1 for the one before, ..."""
        return np.repeat(self.ends, self.lengths) - 1 - np.arange(len(self.past))

    def last(self, values: np.ndarray) -> np.ndarray:
        """Each candidate's value [pairs] with the last item of its history: [candidates], as of the next ones."""
        return values[self.ends - 1]

    def total(self, values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values.astype(float), self.starts)

    def mean(self, values: np.ndarray) -> np.ndarray:
        return self.total(values) / self.lengths

    def largest(self, values: np.ndarray) -> np.ndarray:
        return np.maximum.reduceat(values, self.starts)

    def where_largest(self, values: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The largest of `values`, none below 0, with the items whose `others` is each candidate's largest."""
        return self.largest(np.where(others == np.repeat(self.largest(others), self.lengths), values, 0.0))
