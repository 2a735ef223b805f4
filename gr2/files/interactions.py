"""interactions.parquet: a row an event, of a user with an item, at a time or at a position among the user's events."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from gr2.files.columns import (
    MissingColumn,
    cast_exactly,
    cast_ids,
    cast_whole,
    read_table,
    refuse_rows,
    require_columns,
)
from gr2.files.schema import NUMBER, TEXT
from gr2.files.times import add_times

SPLITS = ("pretrain", "train", "valid", "test")
KNOWN = "an item of the items file"
Check = Callable[[pl.DataFrame], pl.DataFrame]  # a table, and the same with some columns in their types


def read_interactions(path: str | Path, item_ids: pl.Series | None = None) -> pl.DataFrame:
    """The events of `gr2 prepare`: as for `check_events`, with a checked `split` where the file has it."""
    frame = check_events(read_table(path), path, item_ids)
    if "split" in frame.columns:
        splits = cast_exactly(frame["split"], path, TEXT)
        refuse_rows(~splits.is_in(SPLITS), path, "split", f"one of {', '.join(SPLITS)}", frame["split"])
        frame = frame.with_columns(splits)
    return frame


def check_events(frame: pl.DataFrame, path: str | Path, item_ids: pl.Series | None = None) -> pl.DataFrame:
    """Events in their types: `user_id`, `item_id`, `timestamp` (int, seconds) or `position` (int), optional `rating`,
    and the other columns. InputError names the first bad row of `path`, with `item_ids` also for unknown items.
    """
    for check in event_checks(path, item_ids):
        frame = check(frame)
    return frame


def event_checks(path: str | Path, item_ids: pl.Series | None) -> list[Check]:
    """What `check_events` checks, one column after the other."""
    columns = (check_users, partial(check_items, item_ids=item_ids), check_times, check_positions, check_ratings)
    return [partial(check, path=path) for check in columns]


def check_users(frame: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    require_columns(frame, path, ("user_id",))
    return frame.with_columns(cast_ids(frame, path, "user_id"))


def check_items(frame: pl.DataFrame, path: str | Path, item_ids: pl.Series | None) -> pl.DataFrame:
    require_columns(frame, path, ("item_id",))
    ids = cast_ids(frame, path, "item_id")
    if item_ids is not None:
        refuse_rows(~ids.is_in(item_ids.implode()), path, "item_id", KNOWN, ids)
    return frame.with_columns(ids)


def check_times(frame: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    if not {"timestamp", "position"} & set(frame.columns):
        raise MissingColumn(f"{path}: expected a column 'timestamp' or 'position'", frame.columns)
    return add_times(frame, path) if "timestamp" in frame.columns else frame


def check_positions(frame: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    if "position" not in frame.columns:
        return frame
    frame = cast_numbers(frame, path, "position")
    return frame.with_columns(cast_whole(frame, path, "position"))


def check_ratings(frame: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    if "rating" not in frame.columns:
        return frame
    frame = cast_numbers(frame, path, "rating")
    ratings = cast_exactly(frame["rating"], path, NUMBER)
    refuse_rows(~(ratings.is_finite() | ratings.is_null()), path, "rating", "a finite number, or none", frame["rating"])
    return frame.with_columns(ratings)


def cast_numbers(frame: pl.DataFrame, path: str | Path, column: str) -> pl.DataFrame:
    """A column of numbers that is text because of some values that are no numbers: those are refused."""
    texts = frame[column]
    numbers = texts.cast(pl.Float64, strict=False) if texts.dtype == pl.String else texts
    if texts.dtype != pl.String or numbers.null_count() == len(numbers):
        return frame
    refuse_rows(numbers.is_null() & texts.is_not_null(), path, column, "a number", texts)
    return frame.with_columns(numbers)
