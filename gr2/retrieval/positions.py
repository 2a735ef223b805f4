"""Which positions of interactions.parquet are asked about, as queries."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.columns import refuse_rows, require_columns
from gr2.files.interactions import SPLITS, read_interactions
from gr2.files.items import read_items
from gr2.retrieval.queries import Queries


@dataclass(frozen=True)
class EventLog:
    """Events of `gr2 prepare` by user and position, with `row`, int32: the item's row in the items file.

    items, path: the items and the interactions file.
    """

    item_ids: pl.Series
    events: pl.DataFrame
    items: str
    path: str

    def pretrain(self) -> pl.DataFrame:
        """The pretrain events, all that a pre-ranker may learn from."""
        found = self.events.filter(pl.col("split") == "pretrain")
        if found.is_empty():
            raise InputError(f"{self.path}: column 'split': expected pretrain events to learn from, found none")
        return found

    def counts(self) -> np.ndarray:
        """How often each item occurs in the pretrain events: int64 [items]."""
        return np.bincount(self.pretrain()["row"], minlength=len(self.item_ids))


@dataclass(frozen=True)
class Positions:
    """Events that something is asked about. frame: `user_id`, `position`, `split`, and `row`, the item that came; one
    row a query.
    """

    frame: pl.DataFrame
    queries: Queries


def read_events(items: str, interactions: str) -> EventLog:
    item_ids = read_items(items)["item_id"]
    events = add_rows(read_interactions(interactions, item_ids), interactions, item_ids)
    return EventLog(item_ids, events, items, interactions)


def add_rows(events: pl.DataFrame, path: str | Path, item_ids: pl.Series) -> pl.DataFrame:
    """Events by user and position, with `row` (see `EventLog`)."""
    require_columns(events, path, ("split", "position"))
    refuse_rows(~events["split"].is_in(list(SPLITS)), path, "split", f"one of {', '.join(SPLITS)}", events["split"])
    if not in_order(events):
        twice = ~events.select(pl.struct("user_id", "position").is_first_distinct()).to_series()
        refuse_rows(twice, path, "position", "one event per user and position", events["position"])
        events = events.sort("user_id", "position")
    rows = pl.DataFrame({"item_id": item_ids, "row": np.arange(len(item_ids), dtype=np.int32)})
    return events.join(rows, on="item_id", how="left", maintain_order="left")


def in_order(events: pl.DataFrame) -> bool:
    """Whether events come user by user, each user's in ascending positions, none twice."""
    user, position = pl.col("user_id"), pl.col("position")
    before = (user > user.shift()) | ((user == user.shift()) & (position > position.shift()))
    return events.select(before.fill_null(True).all()).item()


def add_past(events: pl.DataFrame, splits: list[str]) -> pl.DataFrame:
    """The events of `splits` that have a past, with `at`, their row, and `start`, their user's first row."""
    events = events.with_columns(at=pl.int_range(pl.len())).with_columns(start=pl.col("at").min().over("user_id"))
    return events.filter(pl.col("split").is_in(splits) & (pl.col("at") > pl.col("start")))


def select_positions(events: pl.DataFrame, splits: list[str], max_positions: int | None) -> Positions:
    """Every event of `splits` with a past; with `max_positions` only each user's latest of each split.

    events: those of an `EventLog`.
    """
    frame = add_past(events, splits).select("user_id", "position", "split", "row", "at", "start")
    if max_positions is not None:
        frame = frame.filter(pl.int_range(pl.len(), 0, -1).over("user_id", "split") <= max_positions)
    queries = Queries(events["row"].to_numpy(), frame["start"].to_numpy(), frame["at"].to_numpy())
    return Positions(frame.drop("at", "start"), queries)
