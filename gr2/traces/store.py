"""`traces.jsonl`: read, and written so that an interrupted run goes on where it stopped.

While a teacher is asked, the samples that were answered together are one line of `traces.partial`, appended and fsynced.
A kill can tear only the last line; what was in it, or in flight, is asked again, so no sample is lost or doubled.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from gr2.errors import InputError
from gr2.files.artifacts import append_lines, files_below, read_lines, sha256, write_text
from gr2.options.declare import is_input
from gr2.prompts.prompt import prompt_file

if TYPE_CHECKING:
    from gr2.stages.traces import Config

TRACES, PARTIAL = "traces.jsonl", "traces.partial"
# Options that say how and where samples are asked for. Whatever else a run was told its samples depend on.
FREE = ("output_dir", "engine", "base_url", "concurrency", "deadline", "ray_engine", "workers", "gpus_per_worker", "max_model_len",
        "batch_size")  # fmt: skip
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
    """The rows of a traces.jsonl, whose `columns` are there and of their types; InputError names row and column."""
    return [cast(row, columns, f"{path}: row {number}") for number, row in enumerate(read_lines(path, columns))]


def cast(row: dict, columns: tuple[str, ...], where: str) -> dict:
    """The row with token counts in the place of null; InputError where a column is missing or of another type."""
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


def made_of(config: "Config") -> dict:
    """What a sample and its being accepted depend on: all options but FREE, files by their sha256."""

    def known(name: str) -> str | list[str]:
        return [sha256(file) for file in files_below(name)] if Path(name).exists() else name

    values = {field.name: vars(config)[field.name] for field in fields(config) if field.name not in FREE}
    for field in filter(is_input, fields(config)):
        value = values[field.name]
        if field.name in ("prompt", "domain"):
            value = value and prompt_file(value)
        values[field.name] = [known(entry) for entry in value] if isinstance(value, list) else value and known(value)
    return values


class Partial:
    """The rows of an unfinished run: `rows` are those that an interrupted one left.

    The first line holds `made_of`; InputError if an interrupted run's was another. Two runs at
    once, which gr2's lock prevents on file systems that have locks, may have left a second first line, rows twice, and
    lines torn in the middle: a torn line is left out, and what it held is asked again.
    """

    def __init__(self, folder: Path, made_of: dict):
        self.path = folder / PARTIAL
        lines = read_whole_lines(self.path)
        heads = [line["made_of"] for line in lines if isinstance(line.get("made_of"), dict)]
        rows = [row for line in lines if isinstance(line.get("rows"), list) for row in line["rows"]]
        if rows and not heads:
            raise InputError(
                f"{self.path}: expected a line that says what its samples depend on; delete it to start again"
            )
        for head in heads:
            other = sorted(name for name in {*made_of, *head} if head.get(name) != made_of.get(name))
            if other:
                raise InputError(
                    f"{self.path}: holds samples of a run with other {', '.join(other)}; delete it to start again"
                )
        self.head = [] if heads else [json.dumps({"made_of": made_of})]
        self.rows = [cast(row, COLUMNS, str(self.path)) for row in rows if isinstance(row, dict)]

    def append(self, rows: list[dict]) -> None:
        append_lines(self.path, [*self.head, json.dumps({"rows": rows})])
        self.head = []


def read_whole_lines(path: Path) -> list[dict]:
    """The lines that are JSON objects. A last line without an end is ended in the file, so that none is appended to it."""
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        append_lines(path, [""])
    lines = []
    for line in content.split(b"\n"):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines


def write_traces(folder: Path, rows: list[dict]) -> None:
    """Writes `traces.jsonl` whole and drops the partial file."""
    lines = [json.dumps({name: row[name] for name in COLUMNS}) + "\n" for row in rows]
    write_text(folder / TRACES, "".join(lines))
    (folder / PARTIAL).unlink(missing_ok=True)
