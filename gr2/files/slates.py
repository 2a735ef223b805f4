"""A slate: a user's history, the candidates that a ranker put before them, and what is known of these; and a ranking of it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import polars as pl


@dataclass(frozen=True)
class Slate:
    """A row of slates.parquet. `labels`, `scores` and `facts` have an entry for each candidate, or none at all."""

    slate_id: str
    history: list[str]  # item ids, oldest first
    candidates: list[str]  # item ids, in the input order
    labels: list[float] = field(default_factory=list)  # above 0: relevant
    scores: list[float] = field(default_factory=list)  # the retriever's
    facts: list[dict[str, int]] = field(default_factory=list)  # what a prompt may show, see data.features
    user_id: str = ""
    split: str = "test"

    @cached_property
    def grades(self) -> dict[str, float]:
        """Candidate -> label; empty where nothing is labelled."""
        return dict(zip(self.candidates, self.labels, strict=bool(self.labels)))

    @property
    def relevant(self) -> list[str]:
        """The candidates with a label above 0, in the input order; none at serving time, when there are no labels."""
        return [item_id for item_id in self.candidates if self.grades.get(item_id, 0) > 0]

    def first_relevant(self, order: Sequence[str]) -> int:
        """The index, from 0, of the first relevant item of `order`; ValueError where none is relevant."""
        for index, item_id in enumerate(order):
            if self.grades.get(item_id, 0) > 0:
                return index
        raise ValueError(f"slate_id '{self.slate_id}': no candidate is relevant")

    def reordered(self, order: Sequence[int]) -> Self:
        """The slate with its candidate `order[r]` at rank r; what belongs to a candidate moves with it."""
        names = ("candidates", "labels", "scores", "facts")
        moved = {name: [values[at] for at in order] for name in names if (values := vars(self)[name])}
        return replace(self, **moved)

    def shuffled(self, seed: int, draw: int = 0) -> Self:
        """The slate in random order: the same for the same seed, draw (an epoch, say) and slate_id."""
        order = list(range(len(self.candidates)))
        random.Random(f"{seed} {draw} {self.slate_id}").shuffle(order)
        return self.reordered(order)

    def with_latest(self, count: int) -> Self:
        """The slate with the latest `count` items of its history."""
        return replace(self, history=self.history[max(0, len(self.history) - count) :])


def slates_of(frame: pl.DataFrame) -> list[Slate]:
    """The rows of a checked slates file (`tables.read_slates`)."""
    names = [name for name in Slate.__dataclass_fields__ if name in frame.columns]
    return [
        Slate(**{name: value for name, value in row.items() if value is not None})
        for row in frame.select(names).iter_rows(named=True)
    ]


def sample_slates(slates: list[Slate], count: int | None, seed: int) -> list[Slate]:
    """`count` of the slates (None: all), drawn at random under the seed, in file order: the first ones are the first users'."""
    if count is None or count >= len(slates):
        return slates
    return [slates[at] for at in sorted(random.Random(seed).sample(range(len(slates)), count))]
