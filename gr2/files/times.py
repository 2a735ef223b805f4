"""Timestamps of any kind -> whole seconds since 1970, and nanoseconds where the file is finer than seconds."""

import functools
import operator
from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import cast_whole, refuse_rows
from gr2.files.dates import parse_dates

LIMIT = 4_102_444_800  # seconds: all times lie before 2100, and after 1840
# A whole number too large for seconds is milli-, micro- or nanoseconds if it then lies between 1973 and 2100. These
# ranges are apart; what lies between them (20240131120000, say) is refused.
SINCE_1973 = 100_000_000  # seconds
UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
FINE = "timestamp_ns"  # the column's name
UNCLEAR = "a date like 2024-01-31, because nothing shows whether days or months come first"
INSIDE = "a time between 1840 and 2100"
EXPECTED = "seconds since 1970, or a date and time like 2024-01-31 12:00:00"


def add_times(frame: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    """The frame with `timestamp` as int64 seconds and, where those would lose an order within a second, `timestamp_ns`;
    `timestamp` as for `read_times`.
    """
    nanoseconds, _ = read_times(frame["timestamp"], path)
    return add_fraction(frame, nanoseconds // 10**9, nanoseconds)


def read_times(times: pl.Series, path: str | Path) -> tuple[pl.Series, str]:
    """int64 nanoseconds since 1970, and the form that the times have.

    times: dates, times, or numbers, with fractions or without, all of them as text too. The form of most of them counts
    (`dates.parse_dates`), and the unit of most numbers. InputError for a time that is missing, of another form or unit,
    or not between 1840 and 2100, for days and months that cannot be told apart, and for floats of 32 bits.
    """
    if times.dtype in (pl.Float32, pl.Float16):
        found = f"{times.dtype}, which rounds seconds to minutes"
        raise InputError(f"{path}: column 'timestamp': expected whole numbers or dates, found {found}")
    if times.dtype in (pl.Date, pl.Datetime):
        seconds = times.dt.epoch("s")
        refuse_rows(~seconds.is_between(-LIMIT, LIMIT), path, "timestamp", INSIDE, times)
        return times.cast(pl.Datetime("ns")).to_physical(), "dates"
    whole, rest = split_numbers(times, path)
    if times.dtype == pl.String:
        form, dates = parse_dates(times)
        if form is None:
            unclear = times.str.contains(r"^\s*\d\d?[-/.]\d\d?[-/.]\d{4}").fill_null(False)
            refuse_rows(unclear, path, "timestamp", UNCLEAR, times)
        elif len(dates) - dates.null_count() > len(whole) - whole.null_count():
            refuse_rows(dates.is_null(), path, "timestamp", f"dates as {form}, as most are", times)
            refuse_rows(~dates.is_between(-LIMIT * 10**9, LIMIT * 10**9), path, "timestamp", INSIDE, times)
            return dates, f"dates as {form}"
    refuse_rows(whole.is_null(), path, "timestamp", describe_others(whole.drop_nulls()), times)
    if times.dtype.is_float():
        refuse_rows(whole.abs() > 2**53, path, "timestamp", "a number below 2^53 in a column of floats", times)
    unit = find_unit(whole, path)
    fraction = (rest * (10**9 // UNITS[unit])).round().cast(pl.Int64)
    return in_nanoseconds(whole, path, unit) + fraction, f"{unit} since 1970"


def split_numbers(times: pl.Series, path: str | Path) -> tuple[pl.Series, pl.Series]:
    """Numbers as int64, null for what is none, and their fractions as float64."""
    if times.dtype == pl.String:
        times = times.str.strip_chars()
        whole = times.str.extract(r"^([+-]?\d+)(?:\.\d+)?$").cast(pl.Int64, strict=False)
    elif times.dtype.is_float() or times.dtype.is_decimal():
        whole = times.cast(pl.Int64, strict=False)
    else:
        whole = cast_whole(pl.DataFrame([times]), path, "timestamp")
    return whole, times.cast(pl.Float64, strict=False) - whole.cast(pl.Float64)


def describe_others(numbers: pl.Series) -> str:
    """What to expect of a time in a column with these numbers."""
    unit = unit_of(find_median(numbers)) if len(numbers) else None
    return f"{unit} since 1970, as the other times are" if unit else EXPECTED


def find_median(times: pl.Series) -> int:
    return times.sort()[len(times) // 2] if len(times) else 0


def unit_of(time: int) -> str | None:
    return next((unit for unit, size in UNITS.items() if smallest_of(unit) <= time < LIMIT * size), None)


def find_unit(times: pl.Series, path: str | Path) -> str:
    """The unit of whole numbers: that of their median, which all others must share."""
    ranges = {unit: times.is_between(smallest_of(unit), LIMIT * size - 1) for unit, size in UNITS.items()}
    known = functools.reduce(operator.or_, ranges.values())
    refuse_rows(~known, path, "timestamp", EXPECTED, times)
    dates = times.is_between(19_000_101, 20_991_231)
    dates &= times.cast(pl.String).str.to_date("%Y%m%d", strict=False).is_not_null()
    if 2 * dates.sum() > len(times):  # 20240131
        refuse_rows(dates, path, "timestamp", "a date like 2024-01-31, or seconds since 1970", times)
    usual = find_median(times)
    unit = unit_of(usual)
    refuse_rows(~ranges[unit], path, "timestamp", f"{unit} since 1970, as {usual} is", times)
    return unit


def smallest_of(unit: str) -> int:
    """The smallest number that is read as a time in this unit."""
    return -LIMIT if unit == "seconds" else SINCE_1973 * UNITS[unit]


def set_unit(frame: pl.DataFrame, path: str | Path, unit: str) -> pl.DataFrame:
    """`add_times` of a column of int64 whose unit, one of UNITS, is known."""
    nanoseconds = in_nanoseconds(frame["timestamp"], path, unit)
    return add_fraction(frame, nanoseconds // 10**9, nanoseconds)


def in_nanoseconds(times: pl.Series, path: str | Path, unit: str) -> pl.Series:
    size = UNITS[unit]
    inside = times.is_between(-LIMIT * size, LIMIT * size)
    refuse_rows(~inside, path, "timestamp", f"{unit} since 1970, between 1840 and 2100", times)
    return times * (10**9 // size)


def add_fraction(frame: pl.DataFrame, seconds: pl.Series, nanoseconds: pl.Series) -> pl.DataFrame:
    """nanoseconds are kept only where one is no whole second."""
    frame = frame.drop(FINE, strict=False).with_columns(seconds.cast(pl.Int64).alias("timestamp"))
    finer = (nanoseconds % 10**9 != 0).any()
    return frame.with_columns(nanoseconds.cast(pl.Int64).alias(FINE)) if finer else frame
