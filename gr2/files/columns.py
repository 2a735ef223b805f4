"""Reads and writes files with rows and columns. InputErrors name file, row (counted from 0), column and expectation."""

from collections.abc import Collection
from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.artifacts import write_whole
from gr2.files.names import find_unknown
from gr2.files.raw import read_raw

NAMES = {pl.String(): "text", pl.Int64(): "whole numbers", pl.Float64(): "numbers", pl.Boolean(): "true or false"}
ONE = {pl.Int64(): "a whole number", pl.Boolean(): "true or false"}


def read_table(path: str | Path, names: dict[str, list[str]] | None = None) -> pl.DataFrame:
    """`raw.read_raw`, of a file that must not have broken lines, whose encoding must be known, and that has all columns
    of `names` (see `column_names`).
    """
    raw = read_raw(path, names or {})
    for _, complaint in find_unknown(names or {}, {str(path): raw.columns}):
        raise InputError(complaint)
    for row in raw.broken[:1]:
        more = f" (and {len(raw.broken) - 1} more lines)" if len(raw.broken) > 1 else ""
        raise InputError(f"{path}: line {row.line}: expected {row.expected}, found {row.found}{more}")
    if raw.guess:
        raise InputError(f"{path}: expected UTF-8, found other bytes; `iconv -f ENCODING -t UTF-8` converts it")
    return raw.frame


def write_parquet(frame: pl.DataFrame, path: str | Path, metadata: dict[str, str] | None = None) -> None:
    with write_whole(path) as aside:
        frame.write_parquet(aside, metadata=metadata)


class MissingColumn(InputError):
    """A table that lacks a column. sentence: the complaint, to which the names in `columns` are added."""

    def __init__(self, sentence: str, columns: Collection[str]):
        self.sentence = sentence
        super().__init__(f"{sentence}; it has {', '.join(columns)}")


def require_columns(frame: pl.DataFrame, path: str | Path, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in frame.columns:
            raise MissingColumn(f"{path}: column '{name}' is missing", frame.columns)


class BadRows(InputError):
    """Rows with a wrong value. rows: their indices in the table that was checked. values: that column of it."""

    def __init__(self, path: str | Path, column: str, expected: str, rows: pl.Series, values: pl.Series):
        self.column, self.expected, self.rows, self.values = column, expected, rows, values
        more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        found = abbreviate(values[rows[0]])
        super().__init__(f"{path}: row {rows[0]}, column '{column}': expected {expected}, found {found}{more}")


def refuse_rows(bad: pl.Series, path: str | Path, column: str, expectation: str, values: pl.Series) -> None:
    """Raises BadRows, which names the first row, where `bad` is true or null."""
    rows = bad.fill_null(True).arg_true()
    if len(rows):
        raise BadRows(path, column, expectation, rows, values)


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
    """A column of ids as strings; refuses missing and empty ids, and types that are neither text nor whole numbers."""
    if not can_become(frame[name].dtype, pl.String()):
        found = f"expected ids stored as text or whole numbers, found {frame[name].dtype}"
        raise InputError(f"{path}: column '{name}': {found}")
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
