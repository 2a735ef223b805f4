"""impressions.parquet, a log of what was shown: a row an item of a request, with its position and what the user did.

`propensity` is the probability, as it stood when the list was shown, that the user looked at this position: in the
position-based model P(click) = P(looked at) * P(click | looked at) (Joachims, Swaminathan and Schnabel 2017).
"""

from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import cast_exactly, cast_ids, cast_whole, read_table, refuse_rows, require_columns
from gr2.files.schema import NUMBER
from gr2.files.slates import LARGEST_LABEL, LARGEST_SCORE
from gr2.files.times import FINE, add_times

REQUIRED = ("user_id", "item_id", "position", "click", "timestamp")
OPTIONAL = ("request_id", "propensity", "score")


def read_impressions(path: str | Path, names: dict[str, list[str]] | None = None) -> tuple[pl.DataFrame, int]:
    """The log's rows in their types, `position` from 1 and `click` a number; and how many clicks have no position,
    which are left out. names: see `read_table`.

    Without `request_id`, what a user was shown at one time is a request. InputError names the first bad row: also where
    a request has two users, a position twice or an item twice.
    """
    frame = read_table(path, names)
    require_columns(frame, path, REQUIRED)
    frame = frame.select(*REQUIRED, *(name for name in OPTIONAL if name in frame.columns))
    if frame.is_empty():
        raise InputError(f"{path}: expected a row for each item that was shown, found none")
    named = [name for name in ("request_id", "user_id", "item_id") if name in frame.columns]
    ids = [cast_ids(frame, path, name) for name in named]
    frame = add_times(frame.with_columns(*ids, cast_clicks(frame["click"], path)), path)
    if "request_id" not in frame.columns:  # what a user was shown at one time
        time = FINE if FINE in frame.columns else "timestamp"
        frame = frame.with_columns(pl.format("{}@{}", "user_id", time).alias("request_id"))
    check_numbers(frame, path)
    lost = frame["position"].is_null() & (frame["click"] > 0)
    frame = frame.with_columns(frame["position"].set(lost, 1).alias("position"))
    frame = frame.with_columns(cast_whole(frame, path, "position"))
    refuse_rows(frame["position"] < 0, path, "position", "a whole number, from 1 or from 0 on", frame["position"])
    check_requests(frame, path, ~lost)
    shown = frame.filter(~lost)
    first = shown["position"].min() or 0
    return shown.with_columns(pl.col("position") + (first == 0)), int(lost.sum())


def cast_clicks(clicks: pl.Series, path: str | Path) -> pl.Series:
    """0 and 1, false and true or grades, as numbers."""
    numbers = cast_exactly(clicks.cast(pl.Int8) if clicks.dtype == pl.Boolean else clicks, path, NUMBER)
    good = numbers.is_between(0, LARGEST_LABEL)
    refuse_rows(~good, path, "click", "0 or 1, false or true, or a grade of at least 0", clicks)
    return numbers


def check_numbers(frame: pl.DataFrame, path: str | Path) -> None:
    """InputError for a propensity that is no probability above 0, and for a score that is not finite."""
    if "propensity" in frame.columns:
        given = cast_exactly(frame["propensity"], path, NUMBER)
        refuse_rows(~((given > 0) & (given <= 1)), path, "propensity", "a number above 0 and of at most 1", given)
    if "score" in frame.columns:
        given = cast_exactly(frame["score"], path, NUMBER)
        refuse_rows(~given.is_between(-LARGEST_SCORE, LARGEST_SCORE), path, "score", "a finite number", given)


def check_requests(frame: pl.DataFrame, path: str | Path, shown: pl.Series) -> None:
    """InputError for a request of two users, and among the rows that were `shown` for an item or position that a
    request has twice.
    """
    other = pl.col("user_id") != pl.col("user_id").first().over("request_id")
    users = frame.select(other).to_series()
    refuse_rows(users, path, "user_id", "one user a request", frame["user_id"])
    for name in ("position", "item_id"):
        first = frame.select(pl.struct("request_id", name).is_first_distinct().over(shown.alias("shown"))).to_series()
        refuse_rows(shown & ~first, path, name, f"no {name.removesuffix('_id')} twice in a request", frame[name])
