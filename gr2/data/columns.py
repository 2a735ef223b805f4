"""Reading and writing files with rows and columns; every refusal names file, row (counted from 0), column and expectation."""

import functools
import gzip
import zlib
from pathlib import Path

import polars as pl

from gr2.artifacts import write_whole
from gr2.errors import InputError

TABLES = (".parquet", ".jsonl", ".ndjson", ".csv", ".tsv")  # endings of files with rows and columns
CSV_TEXTS = ("user_id", "item_id", "slate_id", "title", "description", "categories")  # else `007` would be read as 7


def read_table(path: str | Path, names: dict[str, str] | None = None) -> pl.DataFrame:
    """Reads parquet, JSON lines, CSV or TSV by the file's ending, `.gz` too; InputError where it cannot be read.

    names: our name -> the file's own; those of its columns are renamed, where it has them, and take the place of a column
    that already has our name.
    """
    path, names = Path(path), names or {}
    whole = {"infer_schema_length": None}  # types are inferred from all rows
    ndjson = functools.partial(pl.read_ndjson, **whole)
    texts = dict.fromkeys((names.get(name, name) for name in CSV_TEXTS), pl.String)
    csv = functools.partial(pl.read_csv, schema_overrides=texts, **whole)
    tsv = functools.partial(csv, separator="\t")
    readers = dict(zip(TABLES, (pl.read_parquet, ndjson, ndjson, csv, tsv), strict=True))
    ending = table_ending(path)
    if not is_table(path) or (path.suffix == ".gz" and ending == ".parquet"):
        raise InputError(f"{path}: expected a file ending in {', '.join(TABLES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        source = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path
        frame = readers[ending](source)
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a readable {ending[1:]} file ({str(error).splitlines()[0]})") from None
    present = {ours: theirs for ours, theirs in names.items() if theirs in frame.columns}
    others = [name for name in frame.columns if name not in {*present.keys(), *present.values()}]
    return frame.select(*(pl.col(theirs).alias(ours) for ours, theirs in present.items()), *others)


def is_table(path: str | Path) -> bool:
    return table_ending(path) in TABLES


def table_ending(path: str | Path) -> str:
    path = Path(path)
    return Path(path.stem if path.suffix == ".gz" else path).suffix


def write_parquet(frame: pl.DataFrame, path: str | Path, metadata: dict[str, str] | None = None) -> None:
    with write_whole(path) as aside:
        frame.write_parquet(aside, metadata=metadata)


def require_columns(frame: pl.DataFrame, path: str | Path, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in frame.columns:
            raise InputError(f"{path}: column '{name}' is missing; it has {', '.join(frame.columns)}")


def refuse_rows(bad: pl.Series, path: str | Path, column: str, expectation: str, values: pl.Series) -> None:
    """Raises InputError naming the first row where `bad` is true."""
    rows = bad.fill_null(True).arg_true()
    if len(rows):
        more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        raise InputError(f"{path}: row {rows[0]}, column '{column}': expected {expectation}, "
                         f"found {_shown(values[rows[0]])}{more}")  # fmt: skip


def as_id(frame: pl.DataFrame, path: str | Path, name: str) -> pl.Series:
    """A column of ids as strings; refuses nulls and empty ids."""
    ids = frame[name].cast(pl.String)
    refuse_rows(ids.is_null() | (ids == ""), path, name, "an id", frame[name])
    return ids


def seconds(times: pl.Series, path: str | Path) -> pl.Series:
    """Dates and times, also written out (`2024-01-31 12:00:00`), as seconds since 1970; numbers, also as text, stay."""
    if times.dtype == pl.String:
        parsed = times.cast(pl.Int64, strict=False)
        if parsed.is_null().all():
            parsed = dates(times)
        refuse_rows(
            parsed.is_null() | ~times.str.contains(r"^(\d{4}\D|-?\d+$)"),  # 02/01/2024 is two dates
            path,
            "timestamp",
            "seconds since 1970, or a date and time like 2024-01-31 12:00:00",
            times,
        )
        times = parsed.alias("timestamp")
    return times.dt.epoch("s") if times.dtype in (pl.Date, pl.Datetime) else times


def dates(texts: pl.Series) -> pl.Series:
    """Null where a text is not of the form that the column's first texts have."""
    try:
        return texts.str.to_datetime(strict=False)
    except pl.exceptions.PolarsError:  # of no form that it knows
        return pl.Series([None] * len(texts), dtype=pl.Datetime)


def whole_numbers(frame: pl.DataFrame, path: str | Path, name: str) -> pl.Series:
    """A column as int64; refuses nulls, NaN, infinities and fractions."""
    values = frame[name]
    if not values.dtype.is_numeric():
        raise InputError(f"{path}: column '{name}': expected whole numbers, found {values.dtype}")
    whole = values.cast(pl.Int64, strict=False)
    bad = whole.is_null()
    if values.dtype.is_float():
        bad = bad | ~values.is_finite() | (values != values.floor())
    refuse_rows(bad, path, name, "a whole number", values)
    return whole


def _shown(value: object) -> str:
    text = repr(value.to_list() if isinstance(value, pl.Series) else value)
    return text if len(text) <= 80 else text[:77] + "..."
