"""The text of a file: its encoding, and the rows of CSV or TSV with their lines, as an editor counts them."""

import codecs
import csv
import io
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gr2.errors import InputError

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
NOT_UTF8 = re.compile("[\udc80-\udcff]")  # bytes that are no UTF-8, as `surrogateescape` keeps them
NO_TEXT = re.compile("[\0\udc80-\udcff]")


@dataclass(frozen=True)
class BrokenLine:
    """A line that is no row of its table, and its text, or the beginning of it."""

    line: int
    expected: str
    found: str
    text: str


@dataclass(frozen=True)
class Lines:
    """A text file's rows. numbers: int64, the line of each row, counted from 1, header included. notes: what was
    recognised, a few words each; guess: the one of them that may be wrong.
    """

    frame: pl.DataFrame
    numbers: pl.Series
    broken: list[BrokenLine]
    notes: list[str]
    guess: str | None = None


def decode(content: bytes, path: str | Path) -> tuple[str, str | None, str | None]:
    """The text, a note on an encoding other than UTF-8, and this note again if the encoding is a guess.

    Where most of a file is UTF-8, bytes that are not stay in the text as NOT_UTF8. InputError for another encoding.
    """
    mark, name = next(((mark, name) for mark, name in MARKS if content.startswith(mark)), (b"", "utf-8"))
    text = content[len(mark) :].decode(name, "surrogateescape" if name == "utf-8" else "replace")
    note = "read as UTF-16" if name != "utf-8" else None
    guess = None
    wrong = len(NOT_UTF8.findall(text))
    if wrong and 2 * wrong >= len(text) - len(text.encode("ascii", "ignore")):
        text = decode_windows(content[len(mark) :], path)
        example = re.search(r"[^\s,;|\"]*[^\x00-\x7f][^\s,;|\"]*", text)[0][:40]
        note = guess = f"read as Windows-1252 (latin-1), because it is not UTF-8; one of its words is {example!r}"
    return text, note, guess


def refuse_zero_bytes(text: str, path: str | Path) -> None:
    before, zero, _ = text.partition("\0")
    if zero:
        line = 1 + before.replace("\r\n", "\n").replace("\r", "\n").count("\n")
        expected = "text in UTF-8 or Windows-1252, or in UTF-16 with a byte order mark"
        raise InputError(f"{path}: line {line}: expected {expected}, found a zero byte")


def decode_windows(content: bytes, path: str | Path) -> str:
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        found = "found neither UTF-8 nor Windows-1252"
        raise InputError(f"{path}: expected UTF-8, {found}; `iconv -f ENCODING -t UTF-8` converts it") from None


def read_delimited(content: bytes, path: str | Path, usual: str) -> Lines:
    """The rows of CSV or TSV, all columns text, an empty field null. usual: the separator, unless the header has more
    names with another of SEPARATORS.

    Broken are rows with more or fewer fields than the header, and those that are not UTF-8 or have a zero byte.
    """
    text, note, guess = decode(content, path)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    separator = find_separator(text, usual)
    rows = split_rows(text, separator)
    _, header = next(rows, (1, []))
    if not header:
        raise InputError(f"{path}: not a readable csv file (it is empty)")
    if "\0" in "".join(header):  # as in all rows of UTF-16 without a mark
        refuse_zero_bytes(text, path)
    names, damaged = name_columns(header, path), bool(NO_TEXT.search(text))
    numbers, broken, clean = array("q"), [], io.StringIO()
    writer = csv.writer(clean, lineterminator="\n")
    for line, fields in rows:
        complaint = find_fault(fields, len(names), damaged)
        if complaint:
            whole = fields if isinstance(fields, str) else separator.join(fields)
            broken.append(BrokenLine(line, *complaint, NOT_UTF8.sub("\ufffd", whole.rstrip("\n"))[:500]))
        else:
            numbers.append(line)
            writer.writerow(fields)
    frame = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    if numbers:
        frame = pl.read_csv(clean.getvalue().encode(), has_header=False, new_columns=names, infer_schema=False)
    other = f"fields are separated by {SEPARATORS[separator]}" if separator != usual else None
    notes = [words for words in (note, other) if words]
    return Lines(frame, pl.Series(numbers, dtype=pl.Int64), broken, notes, guess)


def find_separator(text: str, usual: str) -> str:
    """The one of SEPARATORS with which the first line has the most names."""
    first = text.lstrip("\n").partition("\n")[0]
    names = {separator: len(next(csv.reader([first], delimiter=separator), [])) for separator in SEPARATORS}
    return max(SEPARATORS, key=lambda separator: (names[separator], separator == usual))


def name_columns(header: list[str], path: str | Path) -> list[str]:
    """The header's names; a column without a name, such as an index, is `column 1`, `column 2`, ..."""
    names = [name.strip() or f"column {at}" for at, name in enumerate(header, 1)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"{path}: column '{twice}': expected it once, found it twice")
    return names


def split_rows(text: str, separator: str) -> Iterator[tuple[int, list[str] | str]]:
    """The line at which each row begins, and its fields, or the line itself where it is no row. Empty lines are left
    out.

    A quote that is never closed swallows all lines up to the next quote. So if a row of several lines has odd quotes,
    or not as many fields as the first row, its first line is no row, and the next row begins on the line after that.
    """
    file = io.StringIO(text)
    reader = csv.reader(file, delimiter=separator, strict=True)
    width, line = 0, 1
    while True:
        start, before = file.tell(), reader.line_num
        try:
            fields = next(reader, [])
        except csv.Error:  # a quote that is not closed, or a field of more than 131,072 characters
            fields = None
        count = reader.line_num - before
        if not count:
            return
        if fields is None or (count > 1 and width and len(fields) != width):
            file.seek(start)
            fields, count = next(file), 1
        if fields:
            yield line, fields
            width = width or len(fields)
        line += count


def find_fault(fields: list[str] | str, width: int, damaged: bool) -> tuple[str, str] | None:
    """What was expected of a row, and what was found, if it is broken. damaged: some of the rows have NO_TEXT."""
    if isinstance(fields, str):
        return "quotes that are closed, and doubled within a field", repr(fields[:40])
    if len(fields) != width:
        return f"{width} fields, as in the header", str(len(fields))
    if damaged and any(NOT_UTF8.search(field) for field in fields):
        return "UTF-8", "other bytes"
    if damaged and any("\0" in field for field in fields):
        return "text", "a zero byte"
    return None
