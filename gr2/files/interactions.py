"""interactions.parquet: a row an event, of a user with an item, at a time or at a position among the user's events."""

from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import cast_exactly, cast_ids, cast_whole, read_table, refuse_rows, require_columns
from gr2.files.schema import NUMBER, TEXT, WHOLE, Types, cast_columns
from gr2.files.times import with_times

SPLITS = ("pretrain", "train", "valid", "test")
EVENTS: Types = {"user_id": TEXT, "item_id": TEXT, "position": WHOLE, "rating": NUMBER}  # `timestamp`: files.times


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
    require_columns(frame, path, ("user_id", "item_id"))
    if not {"timestamp", "position"} & set(frame.columns):
        columns = ", ".join(frame.columns)
        raise InputError(f"{path}: expected a column 'timestamp' (seconds) or 'position'; it has {columns}")
    frame = frame.with_columns(cast_ids(frame, path, "user_id"), cast_ids(frame, path, "item_id"))
    frame = cast_columns(frame, path, EVENTS)
    if "timestamp" in frame.columns:
        frame = with_times(frame, path)
    if "position" in frame.columns:
        frame = frame.with_columns(cast_whole(frame, path, "position"))
    if "rating" in frame.columns:
        finite = frame["rating"].is_finite() | frame["rating"].is_null()
        refuse_rows(~finite, path, "rating", "a finite number, or none", frame["rating"])
    if item_ids is not None:
        unknown = ~frame["item_id"].is_in(item_ids.implode())
        refuse_rows(unknown, path, "item_id", "an item of the items file", frame["item_id"])
    return frame
