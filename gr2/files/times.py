"""Timestamps of any kind -> whole seconds since 1970, and nanoseconds where the file is finer than seconds."""

from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import cast_whole, refuse_rows

LIMIT = 4_102_444_800  # seconds: all times lie before 2100, and after 1840
# A whole number too large for seconds is milli-, micro- or nanoseconds if it then lies between 1973 and 2100. These
# ranges are apart; what lies between them (20240131120000, say) is refused.
SINCE_1973 = 100_000_000  # seconds
UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
FINE = "timestamp_ns"  # the column's name
EXPECTED = "seconds since 1970, or a date and time like 2024-01-31 12:00:00"


def with_times(frame: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    """The frame with `timestamp` as int64 seconds and, where those would lose an order within a second, `timestamp_ns`.

    `timestamp`: dates, times, or numbers, all of them as text too. Numbers have the unit of the largest of them.
    InputError for a time that is missing, of another unit or not between 1840 and 2100, and for floats of 32 bits.
    """
    times = frame["timestamp"]
    if times.dtype in (pl.Float32, pl.Float16):
        found = f"{times.dtype}, which rounds seconds to minutes"
        raise InputError(f"{path}: column 'timestamp': expected whole numbers or dates, found {found}")
    written = parse_times(times, path) if times.dtype == pl.String else times
    if written.dtype in (pl.Date, pl.Datetime):
        seconds = written.dt.epoch("s")
        refuse_rows(~seconds.is_between(-LIMIT, LIMIT), path, "timestamp", "a time between 1840 and 2100", times)
        fine = times.str.to_datetime(time_unit="ns") if times.dtype == pl.String else written.cast(pl.Datetime("ns"))
        return with_fine(frame, seconds, fine.to_physical())
    whole = cast_whole(pl.DataFrame([written]), path, "timestamp")
    if times.dtype.is_float():
        refuse_rows(whole.abs() > 2**53, path, "timestamp", "a whole number below 2^53 in a column of floats", times)
    return with_unit(frame.with_columns(whole), path, find_unit(whole, path))


def parse_times(times: pl.Series, path: str | Path) -> pl.Series:
    """Int64 or Datetime; all texts must have one form."""
    parsed = times.cast(pl.Int64, strict=False)
    if parsed.is_null().all():
        try:
            parsed = times.str.to_datetime(strict=False)
        except pl.exceptions.PolarsError:  # of no form that it knows
            parsed = pl.Series("timestamp", [None] * len(times), dtype=pl.Datetime)
    good = parsed.is_not_null() & times.str.contains(r"^(\d{4}\D|-?\d+$)")  # 02/01/2024 is two dates
    refuse_rows(~good, path, "timestamp", EXPECTED, times)
    return parsed


def find_unit(times: pl.Series, path: str | Path) -> str:
    """The unit of whole numbers: that of the largest, which all others must share."""
    largest = times.max() or 0
    unit = next((unit for unit in UNITS if smallest_of(unit) <= largest < LIMIT * UNITS[unit]), None)
    if unit is None:
        refuse_rows(times == largest, path, "timestamp", EXPECTED, times)
    others = f", as {largest} is" if unit != "seconds" else ", between 1840 and 2100"
    refuse_rows(times < smallest_of(unit), path, "timestamp", f"{unit} since 1970{others}", times)
    return unit


def smallest_of(unit: str) -> int:
    """The smallest number that is read as a time in this unit."""
    return -LIMIT if unit == "seconds" else SINCE_1973 * UNITS[unit]


def with_unit(frame: pl.DataFrame, path: str | Path, unit: str) -> pl.DataFrame:
    """`with_times` of a column of int64 whose unit, one of UNITS, is known."""
    times, size = frame["timestamp"], UNITS[unit]
    inside = times.is_between(-LIMIT * size, LIMIT * size)
    refuse_rows(~inside, path, "timestamp", f"{unit} since 1970, between 1840 and 2100", times)
    return with_fine(frame, times // size, times * (10**9 // size))


def with_fine(frame: pl.DataFrame, seconds: pl.Series, nanoseconds: pl.Series) -> pl.DataFrame:
    """nanoseconds are kept only where one is no whole second."""
    frame = frame.drop(FINE, strict=False).with_columns(seconds.cast(pl.Int64).alias("timestamp"))
    finer = (nanoseconds % 10**9 != 0).any()
    return frame.with_columns(nanoseconds.cast(pl.Int64).alias(FINE)) if finer else frame
