"""What a fusion reads of a candidate: of every member its score and rank, then the usual features."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from gr2.data.features import standardise
from gr2.files.rankings import Ranking
from gr2.files.slates import Slate
from gr2.metrics import rank_ndcg


@dataclass(frozen=True)
class Table:
    """Candidates of some slates, slate by slate."""

    names: tuple[str, ...]
    rows: np.ndarray  # float [candidates, names]
    sizes: np.ndarray  # int [slates], none 0

    @cached_property
    def starts(self) -> np.ndarray:
        return self.sizes.cumsum() - self.sizes

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """float [candidates, len(names)]"""
        return self.rows[:, [self.names.index(name) for name in names]]

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of the candidates -> an array for each slate."""
        return np.split(values, self.sizes.cumsum()[:-1])

    def choose(self, chosen: np.ndarray) -> Self:
        """The table of some of the slates; chosen: bool [slates]."""
        return type(self)(self.names, self.rows[np.repeat(chosen, self.sizes)], self.sizes[chosen])

    def softmax(self, values: np.ndarray) -> np.ndarray:
        """Among the candidates of each slate, float [candidates]."""
        shifted = np.exp(values - np.repeat(np.maximum.reduceat(values, self.starts), self.sizes))
        return shifted / np.repeat(np.add.reduceat(shifted, self.starts), self.sizes)

    def ndcg(self, values: np.ndarray, labels: Sequence[Sequence[float]]) -> np.ndarray:
        """NDCG@5 of each slate ranked by these values, float [slates]; equal ones keep the input order."""
        return rank_ndcg(self.split(values), labels, 5)


def score_name(member: int) -> str:
    return f"member{member}_score"


def rank_name(member: int) -> str:
    return f"member{member}_rank"


def read_members(slates: Sequence[Slate], answers: Sequence[Sequence[Ranking]], scored: Sequence[bool]) -> Table:
    """Of each member the score, standardised within the slate, and 1 / its rank.

    answers: each member's rankings of the slates. Where a member gives no scores (`scored`), its order stands for them.
    """
    names = [name(member) for member in range(len(answers)) for name in (score_name, rank_name)]
    columns = [read_member(slates, *pair) for pair in zip(answers, scored, strict=True)]
    return Table(tuple(names), np.concatenate(columns, 1), np.array([len(slate.candidates) for slate in slates]))


def read_member(slates: Sequence[Slate], rankings: Sequence[Ranking], scored: bool) -> np.ndarray:
    """float [candidates, 2]"""
    rows = []
    for slate, ranking in zip(slates, rankings, strict=True):
        place = {item_id: at for at, item_id in enumerate(ranking.ranking)}
        places = np.array([place[item_id] for item_id in slate.candidates])
        values = np.array(ranking.scores)[places] if scored else -places
        rows.append(np.column_stack([standardise(values), 1 / (1 + places)]))
    return np.concatenate(rows)


def add_features(table: Table, names: Sequence[str], rows: Sequence[np.ndarray]) -> Table:
    """rows: float [K, len(names)] of each slate."""
    return Table((*table.names, *names), np.concatenate([table.rows, np.concatenate(rows)], 1), table.sizes)
