"""traces.jsonl: its columns, read and written."""

import json
from collections.abc import Iterator
from pathlib import Path

from gr2.errors import InputError
from gr2.files.artifacts import each_line, write_text

TRACES, PARTIAL = "traces.jsonl", "traces.partial"
# Every column's types. Token counts may be null in files of gr2 0.1: 0, the server did not say.
TYPES = {
    "slate_id": (str,),
    "mode": (str,),
    "sample": (int,),
    "messages": (list,),
    "completion": (str,),
    "reasoning": (str,),
    "ranking": (list, type(None)),
    "accepted": (bool,),
    "reason": (str, type(None)),
    "finish_reason": (str, type(None)),
    "prompt_tokens": (int, type(None)),
    "completion_tokens": (int, type(None)),
    "teacher": (str, type(None)),
}
COLUMNS = tuple(TYPES)
WORDS = {str: "text", int: "a whole number", list: "a list", bool: "true or false", type(None): "null"}


def read_traces(path: str | Path, columns: tuple[str, ...] = COLUMNS) -> list[dict]:
    """All rows of a traces.jsonl, see `each_trace`."""
    return list(each_trace(path, columns))


def each_trace(path: str | Path, columns: tuple[str, ...] = COLUMNS) -> Iterator[dict]:
    """The rows of a traces.jsonl that has these `columns`; InputError names the row and column of a wrong value."""
    for index, row in enumerate(each_line(path, columns)):
        yield check_row(row, f"{path}: row {index}", columns)


def check_row(row: dict, where: str, columns: tuple[str, ...] = COLUMNS) -> dict:
    """The row with 0 for token counts that are null; InputError where a column is missing or of another type."""
    row = dict(row)
    for name in columns:
        value, types = row.get(name), TYPES[name]
        odd = name not in row or not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        if odd or (name == "ranking" and not all(isinstance(item_id, str) for item_id in value or ())):
            expected = " or ".join(WORDS[kind] for kind in types)
            raise InputError(f"{where}, column '{name}': expected {expected}, found {json.dumps(value):.100}")
        if int in types and (value is None or value < 0):
            row[name] = 0
    return row


def accepted_slates(paths: list[str]) -> set[str]:
    """The ids of the slates that have an accepted trace in any of the files."""
    return {row["slate_id"] for path in paths for row in read_traces(path) if row["accepted"]}


def write_traces(folder: str | Path, rows: list[dict]) -> None:
    """Writes traces.jsonl whole and deletes the partial file."""
    lines = [json.dumps({name: row[name] for name in COLUMNS}) + "\n" for row in rows]
    write_text(Path(folder) / TRACES, "".join(lines))
    (Path(folder) / PARTIAL).unlink(missing_ok=True)
