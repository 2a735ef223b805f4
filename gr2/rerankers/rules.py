"""Orders that need no training. Ties keep the input order."""

import random
from dataclasses import dataclass
from typing import Self

import numpy as np

from gr2.data.splits import read_popularity
from gr2.errors import InputError
from gr2.files.rankings import Ranking
from gr2.files.slates import Slate
from gr2.rerankers.protocol import Inputs, Sampling, rank_by_scores

NAMES = ("input_order", "reversed", "random", "oracle", "popularity", "rarest")
BY_POPULARITY = ("popularity", "rarest")


@dataclass(frozen=True)
class Rule:
    """`oracle` sorts by label: the ceiling. `reversed` reverses the input order, `rarest` the order of `popularity`.
    Where either ranks well, the way the slates were made gives the relevant items away.
    """

    name: str
    popularity: dict[str, int]  # pretrain events by item, of BY_POPULARITY
    seed: int = 0

    @classmethod
    def open(cls, name: str, inputs: Inputs, sampling: Sampling) -> Self:
        if name not in BY_POPULARITY:
            return cls(name, {}, sampling.seed)
        inputs.require(name, "interactions")
        return cls(name, read_popularity(inputs.interactions))

    def rank(self, slates: list[Slate]) -> list[Ranking]:
        if self.name in BY_POPULARITY:
            return rank_by_scores(slates, [self.counts(slate) for slate in slates])
        return [Ranking(slate.slate_id, self.order(slate)) for slate in slates]

    def order(self, slate: Slate) -> list[str]:
        candidates = slate.candidates
        if self.name == "input_order":
            return list(candidates)
        if self.name == "reversed":
            return candidates[::-1]
        if self.name == "random":
            return random.Random(f"{self.seed} {slate.slate_id}").sample(candidates, len(candidates))
        assert self.name == "oracle"
        if not slate.labels:
            raise InputError(f"--reranker oracle: expected labels, slate_id '{slate.slate_id}' has none")
        return sorted(candidates, key=lambda item_id: -slate.grades[item_id])

    def counts(self, slate: Slate) -> np.ndarray:
        """The candidates' pretrain events [K]; of `rarest` below 0."""
        sign = -1.0 if self.name == "rarest" else 1.0
        return sign * np.array([self.popularity.get(item_id, 0) for item_id in slate.candidates])
