"""A table as a file has it: parquet, JSON lines, CSV or TSV, `.gz` too, from disk or by URL, each row with its line."""

import gzip
import json
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.delimited import BrokenLine, Lines, decode, read_delimited, refuse_zero_bytes
from gr2.files.names import choose_columns
from gr2.files.paths import TABLES, expect_file, refuse_folder, table_ending
from gr2.files.remote import fetch, is_url

ID_COLUMNS = ("user_id", "item_id", "slate_id", "request_id")
TEXT_COLUMNS = (*ID_COLUMNS, "title", "description", "categories", "candidates")


@dataclass(frozen=True)
class RawTable(Lines):
    """unit: what `numbers` count, `line`, from 1, or in parquet `row`, from 0. columns: the names that the file has."""

    unit: str = "line"
    columns: list[str] = field(default_factory=list)


def read_raw(path: str | Path, names: dict[str, list[str]]) -> RawTable:
    """The rows of a file, those of a text file without its broken lines; InputError where it cannot be read.

    names: see `column_names`; the file's columns are renamed, and replace a column that already has our name. Columns
    of CSV and TSV get the type that all their values have; TEXT_COLUMNS stay text: `007` is not 7.
    """
    ending, zipped = table_ending(path), Path(path).suffix == ".gz"
    refuse_folder(path)
    if ending not in TABLES or (zipped and ending == ".parquet"):
        raise InputError(f"{path}: expected a file ending in {', '.join(TABLES)}")
    if not is_url(path):
        expect_file(path)
    try:
        if ending == ".parquet":
            frame = pl.read_parquet(fetch(path) if is_url(path) else path)
            raw = RawTable(frame, pl.int_range(len(frame), eager=True), [], [], unit="row")
        else:
            content = fetch(path) if is_url(path) else Path(path).read_bytes()
            content = gzip.decompress(content) if zipped else content
            parse = read_json_lines if ending in (".jsonl", ".ndjson") else read_csv
            raw = RawTable(**vars(parse(content, path)))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, EOFError, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a readable {ending[1:]} file ({reason})") from None
    columns = raw.frame.columns
    chosen = choose_columns(names, str(path), columns)
    if ending not in (".csv", ".tsv"):
        return replace(raw, frame=rename(raw.frame, chosen), columns=columns)
    raw = set_headers_aside(raw, chosen)
    return replace(raw, frame=infer_types(rename(raw.frame, chosen)), columns=columns)


def set_headers_aside(raw: RawTable, chosen: dict[str, str]) -> RawTable:
    """Rows that repeat the header in all columns of ids, as where files were joined, become broken lines.

    chosen: our name -> the file's.
    """
    ids = [column for name in ID_COLUMNS if (column := chosen.get(name, name)) in raw.frame.columns]
    if not ids:
        return raw
    same = pl.all_horizontal(pl.col(column).str.strip_chars() == column for column in ids).fill_null(False)
    again = raw.frame.select(same).to_series()
    headers = zip(raw.numbers.filter(again), raw.frame.filter(again).iter_rows(), strict=True)
    broken = [
        BrokenLine(line, "one header", "a second", ",".join(field or "" for field in row)[:500])
        for line, row in headers
    ]
    rows = {"frame": raw.frame.filter(~again), "numbers": raw.numbers.filter(~again)}
    return replace(raw, **rows, broken=raw.broken + broken)


def rename(frame: pl.DataFrame, present: dict[str, str]) -> pl.DataFrame:
    """present: our name -> the frame's."""
    others = [name for name in frame.columns if name not in {*present.keys(), *present.values()}]
    return frame.select(*(pl.col(theirs).alias(ours) for ours, theirs in present.items()), *others)


def read_csv(content: bytes, path: str | Path) -> Lines:
    return read_delimited(content, path, "\t" if table_ending(path) == ".tsv" else ",")


def read_json_lines(content: bytes, path: str | Path) -> Lines:
    """A row an object; blank lines are left out."""
    text, note, guess = decode(content, path)
    refuse_zero_bytes(text, path)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    broken = []
    try:
        frame = pl.read_ndjson(text.encode(), infer_schema_length=None)
    except (UnicodeEncodeError, pl.exceptions.PolarsError):
        broken = [
            BrokenLine(number, "a JSON object", repr(line[:40]), line[:500])
            for number, line in lines
            if not is_row(line)
        ]
        wrong = {row.line for row in broken}
        lines = [(number, line) for number, line in lines if number not in wrong]
        if not lines:
            raise InputError(f"{path}: not a readable jsonl file (none of its lines is a JSON object)") from None
        frame = pl.read_ndjson("\n".join(line for _, line in lines).encode(), infer_schema_length=None)
    numbers = pl.Series([number for number, _ in lines], dtype=pl.Int64)
    return Lines(frame, numbers, broken, [note] if note else [], guess)


def is_row(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict) and bool(line.encode())
    except ValueError:  # JSON's, or a byte that is not UTF-8
        return False


def infer_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns of text -> whole numbers, numbers, or true and false, where all their values are such."""
    return frame.with_columns(infer(frame[name]) for name in frame.columns if name not in TEXT_COLUMNS)


def infer(values: pl.Series) -> pl.Series:
    known = len(values) - values.null_count()
    texts = values.str.strip_chars()
    if known and texts.drop_nulls().is_in(["true", "false"]).all():
        return texts == "true"
    kinds = [pl.Int64] if texts.str.contains(r"^[+-]?\d{16,}$").any() else [pl.Int64, pl.Float64]  # floats would round
    for kind in kinds:
        numbers = texts.cast(kind, strict=False)
        if known and len(numbers) - numbers.null_count() == known:
            return numbers
    return values
