"""Reads and writes files with rows and columns. InputErrors name file, row (counted from 0), column and expectation."""

import functools
import gzip
import io
import os
import re
import zlib
from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.artifacts import write_whole
from gr2.files.paths import TABLES, expect_file, is_table, table_ending
from gr2.files.remote import fetch, is_url

NAMES = {pl.String(): "text", pl.Int64(): "whole numbers", pl.Float64(): "numbers", pl.Boolean(): "true or false"}
ONE = {pl.Int64(): "a whole number", pl.Boolean(): "true or false"}
CSV_TEXTS = ("user_id", "item_id", "slate_id", "title", "description", "categories")  # else `007` would be read as 7


def read_table(path: str | Path, names: dict[str, str] | None = None) -> pl.DataFrame:
    """Reads parquet, JSON lines, CSV or TSV by the file's ending, `.gz` too, from disk or by URL (gr2/files/remote.py);
    InputError where it cannot be read.

    names: our name -> the file's own; its columns are renamed, and replace a column that already has our name.
    """
    names, local = names or {}, Path(path)
    whole = {"infer_schema_length": None}  # types are inferred from all rows
    ndjson = functools.partial(pl.read_ndjson, **whole)
    texts = dict.fromkeys((names.get(name, name) for name in CSV_TEXTS), pl.String)
    csv = functools.partial(pl.read_csv, schema_overrides=texts, **whole)
    tsv = functools.partial(csv, separator="\t")
    readers = dict(zip(TABLES, (pl.read_parquet, ndjson, ndjson, csv, tsv), strict=True))
    ending, zipped = table_ending(path), local.suffix == ".gz"
    if not is_table(path) or (zipped and ending == ".parquet"):
        raise InputError(f"{path}: expected a file ending in {', '.join(TABLES)}")
    if not is_url(path):
        expect_file(local)
    source = fetch(path) if is_url(path) else local
    try:
        if zipped:
            source = gzip.decompress(source if is_url(path) else local.read_bytes())
        frame = readers[ending](source)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, EOFError, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a readable {ending[1:]} file ({reason})") from None
    if ending in (".csv", ".tsv"):
        refuse_odd_csv(frame, path, source, b"," if ending == ".csv" else b"\t")
    present = {ours: theirs for ours, theirs in names.items() if theirs in frame.columns}
    others = [name for name in frame.columns if name not in {*present.keys(), *present.values()}]
    return frame.select(*(pl.col(theirs).alias(ours) for ours, theirs in present.items()), *others)


def refuse_odd_csv(frame: pl.DataFrame, path: str | Path, source: Path | bytes, separator: bytes) -> None:
    """Refuses what polars lets pass: a column that is there twice, and a last line without its last fields."""
    twice = next((name for name in frame.columns if re.search(r"_duplicated_\d+$", name)), None)
    if twice:
        raise InputError(f"{path}: column '{twice.rpartition('_duplicated_')[0]}': expected it once, found it twice")
    if frame.is_empty() or frame.width == 1:
        return
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read()
    if frame[-1, -1] is None and last not in (b"\n", b"\r", separator):
        row, width = len(frame) - 1, frame.width
        raise InputError(f"{path}: row {row}: expected {width} fields, but the file ends before the last one")


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
        found = abbreviate(values[rows[0]])
        raise InputError(f"{path}: row {rows[0]}, column '{column}': expected {expectation}, found {found}{more}")


def cast_exactly(values: pl.Series, path: str | Path, wanted: pl.DataType) -> pl.Series:
    """Casts to `wanted` (String, Int64, Float64, Boolean or a list of these) without changing a value; null stays null.

    Text is text, or whole numbers (ids); whole numbers may be floats or decimals without a fraction; true and false may
    be 1 and 0. InputError for a column of another type, and for the first row whose value would change.
    """
    if isinstance(values.dtype, pl.Array) and isinstance(wanted, pl.List):
        values = values.arr.to_list()
    listed = isinstance(values.dtype, pl.List) and isinstance(wanted, pl.List)
    given, aim = (values.dtype.inner, wanted.inner) if listed else (values.dtype, wanted)
    if not can_become(given, aim):
        expected = f"lists of {NAMES[wanted.inner]}" if isinstance(wanted, pl.List) else NAMES[wanted]
        raise InputError(f"{path}: column '{values.name}': expected {expected}, found {values.dtype}")
    if aim in (pl.Int64, pl.Boolean) and given not in (aim, pl.Null):
        value = pl.element() if listed else pl.first()
        other = value.is_not_null() & value.cast(aim, strict=False).cast(given, strict=False).ne_missing(value)
        bad = values.list.eval(other).list.any() if listed else values.to_frame().select(other).to_series()
        expected = f"lists of {NAMES[aim]}" if listed else ONE[aim]
        refuse_rows(bad.fill_null(False), path, values.name, expected, values)
    return values.cast(wanted)


def can_become(given: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether a column of type `given` can hold values of `wanted`."""
    if given in (wanted, pl.Null):
        return True
    if wanted == pl.String:
        return given.is_integer() or given in (pl.Categorical, pl.Enum)
    return given.is_integer() if wanted == pl.Boolean else given.is_numeric() and not isinstance(wanted, pl.List)


def cast_ids(frame: pl.DataFrame, path: str | Path, name: str) -> pl.Series:
    """A column of ids as strings; refuses missing and empty ids."""
    ids = cast_exactly(frame[name], path, pl.String())
    refuse_rows(ids.is_null() | (ids == ""), path, name, "an id", frame[name])
    return ids


def cast_whole(frame: pl.DataFrame, path: str | Path, name: str) -> pl.Series:
    """A column as int64; refuses missing numbers, NaN, infinities and fractions."""
    whole = cast_exactly(frame[name], path, pl.Int64())
    refuse_rows(whole.is_null(), path, name, "a whole number", frame[name])
    return whole


def refuse_elements(values: pl.Series, good: pl.Expr, path: str | Path, expectation: str) -> None:
    """Raises InputError naming the first row with a list element that is missing or not `good` (of `pl.element()`)."""
    rows = ~values.list.eval(good.fill_null(False)).list.all()
    refuse_rows(rows & values.is_not_null(), path, values.name, expectation, values)


def abbreviate(value: object) -> str:
    """A value as Python writes it, in 80 characters or fewer."""
    text = repr(value.to_list() if isinstance(value, pl.Series) else value)
    return text if len(text) <= 80 else text[:77] + "..."
