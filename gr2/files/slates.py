"""slates.parquet: a slate is a user's history and the candidates that a retriever found for them, to be reranked."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import cast_ids, read_table, refuse_elements, refuse_rows, require_columns, write_parquet
from gr2.files.interactions import SPLITS
from gr2.files.schema import NUMBERS, TEXT, TEXTS, WHOLES, Types, cast_columns
from gr2.files.sources import check_sources

SLATE_SPLITS = SPLITS[1:]
SLATE_STAGES = ("slates", "impressions")  # that make slates.parquet
PROTOCOLS = ("next", "later", "impressions", "log")  # of `gr2 slates`, and `log` of `gr2 impressions`
SLATES: Types = {
    "slate_id": TEXT,
    "user_id": TEXT,
    "history": TEXTS,
    "candidates": TEXTS,
    "labels": NUMBERS,
    "scores": NUMBERS,
    "split": TEXT,
}
LOGGED: Types = {"positions": WHOLES, "propensities": NUMBERS}  # of slates of an impression log
PROBABILITY = "numbers above 0 and of at most 1"
LARGEST_LABEL, LARGEST_SCORE = 1e12, 1e15  # sums of squares of these stay finite, also in 32 bits


@dataclass(frozen=True)
class Slate:
    """A row of slates.parquet. What belongs to the candidates, as `labels`, has an entry for each, or is empty."""

    slate_id: str
    history: list[str]  # item ids, oldest first
    candidates: list[str]  # item ids, in the input order
    labels: list[float] = field(default_factory=list)  # above 0: relevant
    scores: list[float] = field(default_factory=list)  # the retriever's
    facts: list[dict[str, int]] = field(default_factory=list)  # what a prompt may show, see data.features
    # Of each of several retrievers the `rank`, from 1, and `score` that it gave; None where it did not return the item.
    sources: list[dict[str, dict[str, float] | None]] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)  # where a log showed each candidate, from 1
    propensities: list[float] = field(default_factory=list)  # the probability that the user looked at it there
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
        names = ("candidates", "labels", "scores", "facts", "sources", *LOGGED)
        moved = {name: [values[index] for index in order] for name in names if (values := vars(self)[name])}
        return replace(self, **moved)

    def shuffled(self, seed: int, draw: int = 0) -> Self:
        """The slate in random order: the same for the same seed, draw (an epoch, say) and slate_id."""
        order = list(range(len(self.candidates)))
        random.Random(f"{seed} {draw} {self.slate_id}").shuffle(order)
        return self.reordered(order)

    def with_latest(self, count: int) -> Self:
        """The slate with the latest `count` items of its history."""
        return replace(self, history=self.history[max(0, len(self.history) - count) :])


def read_slates(path: str | Path, item_ids: pl.Series | None = None, split: str | None = None) -> list[Slate]:
    """The slates of a file, or of one of its splits, in file order; InputError as for `check_slates`."""
    table = read_slate_table(path, item_ids)
    return slates_of(table if split is None else table.filter(pl.col("split") == split))


def read_slate_table(path: str | Path, item_ids: pl.Series | None = None) -> pl.DataFrame:
    """A slates file as a table, with the file's other columns; InputError as for `check_slates`."""
    return check_slates(read_table(path), path, item_ids)


def slates_of(table: pl.DataFrame) -> list[Slate]:
    """The rows of a checked slates table."""
    return list(Slates(table))


class Slates(Sequence[Slate]):
    """The same, each made when it is asked for: a million at once would take 3 GB."""

    def __init__(self, table: pl.DataFrame):
        self.table = table.select(name for name in Slate.__dataclass_fields__ if name in table.columns)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int | slice) -> Slate | list[Slate]:
        return slates_of(self.table[index]) if isinstance(index, slice) else slates_of(self.table.slice(index, 1))[0]

    def __iter__(self) -> Iterator[Slate]:
        for row in self.table.iter_rows(named=True):
            yield Slate(**{name: value for name, value in row.items() if value is not None})


def write_slates(slates: Sequence[Slate], path: str | Path, item_ids: pl.Series | None = None) -> None:
    """Writes slates.parquet whole; `scores` and the other optional columns where a slate has them. InputError as for
    `check_slates`.
    """
    columns = {name: [vars(slate)[name] for slate in slates] for name in SLATES}
    table = pl.DataFrame(columns, SLATES)
    if not any(columns["scores"]):
        table = table.drop("scores")
    for name in ("facts", "sources", *LOGGED):
        values = [vars(slate)[name] for slate in slates]
        if any(values):
            table = table.with_columns(pl.Series(name, values))
    write_parquet(check_slates(table, path, item_ids), path)


def check_slates(frame: pl.DataFrame, path: str | Path, item_ids: pl.Series | None = None) -> pl.DataFrame:
    """A slates table in its types: `slate_id`, `user_id`, `history`, `candidates`, `labels`, `split`, and optional
    `scores`, `facts`, `sources`, `positions` and `propensities`; lists are ordered. InputError names the first bad row
    of `path`, with `item_ids` also for unknown items.
    """
    require_columns(frame, path, ("slate_id", "user_id", "history", "candidates", "labels", "split"))
    frame = cast_columns(frame, path, SLATES | LOGGED)
    frame = frame.with_columns(cast_ids(frame, path, "slate_id"), cast_ids(frame, path, "user_id"))
    refuse_rows(~frame["slate_id"].is_first_distinct(), path, "slate_id", "unique slate ids", frame["slate_id"])
    refuse_rows(frame["history"].list.len() == 0, path, "history", "at least one item", frame["history"])
    candidates, sizes = frame["candidates"], frame["candidates"].list.len()
    refuse_rows(sizes == 0, path, "candidates", "at least one item", candidates)
    refuse_rows(candidates.list.n_unique() != sizes, path, "candidates", "no item twice", candidates)
    for number, least, most in (("label", 0, LARGEST_LABEL), ("score", -LARGEST_SCORE, LARGEST_SCORE)):
        name = f"{number}s"
        if name in frame.columns:
            values, lengths = frame[name], frame[name].list.len()
            wrong = (lengths != sizes) & (lengths != 0)
            refuse_rows(wrong, path, name, f"one {number} per candidate, or none", values)
            good = pl.element().is_finite() & pl.element().is_between(least, most)
            refuse_elements(values, good, path, f"finite numbers from {least:g} to {most:g}")
    if "facts" in frame.columns:
        if frame["facts"].dtype != pl.List(pl.Struct):
            raise InputError(f"{path}: column 'facts': expected a list of mappings, found {frame['facts'].dtype}")
        refuse_rows(frame["facts"].list.len() != sizes, path, "facts", "one mapping per candidate", frame["facts"])
    check_sources(frame, path)
    check_logged(frame, path)
    refuse_rows(~frame["split"].is_in(SLATE_SPLITS), path, "split", f"one of {', '.join(SLATE_SPLITS)}", frame["split"])
    for name in ("history", "candidates"):
        refuse_elements(frame[name], pl.element() != "", path, "no missing item")
        if item_ids is not None:
            refuse_elements(frame[name], pl.element().is_in(item_ids.implode()), path, "items of the items file")
    return frame


def check_logged(frame: pl.DataFrame, path: str | Path) -> None:
    """Where there are any: for each candidate a position from 1, none twice; a propensity above 0 and of at most 1."""
    sizes = frame["candidates"].list.len()
    for name, number, good, expected in (
        ("positions", "position", pl.element() >= 1, "whole numbers of at least 1"),
        ("propensities", "propensity", (pl.element() > 0) & (pl.element() <= 1), PROBABILITY),
    ):
        if name in frame.columns:
            wrong = (frame[name].list.len() != sizes) & (frame[name].list.len() != 0)
            refuse_rows(wrong, path, name, f"one {number} per candidate, or none", frame[name])
            refuse_elements(frame[name], good, path, expected)
    if "positions" in frame.columns:
        twice = frame["positions"].list.n_unique() != frame["positions"].list.len()
        refuse_rows(twice, path, "positions", "no position twice", frame["positions"])


def sample_slates(slates: Sequence[Slate], count: int | None, seed: int) -> Sequence[Slate]:
    """`count` of the slates (None: all), drawn under the seed, in file order: the first ones are the first users'."""
    if count is None or count >= len(slates):
        return slates
    return [slates[index] for index in sorted(random.Random(seed).sample(range(len(slates)), count))]
