"""`traces.jsonl`: read, and written so that an interrupted run goes on where it stopped.

While a teacher is asked, the samples that were answered together are one line of `traces.partial`, appended and fsynced.
A kill can tear only the last line; what was in it, or in flight, is asked again, so no sample is lost or doubled.
"""

import json
from pathlib import Path

from gr2.artifacts import append_lines, read_appended, read_lines, write_text
from gr2.errors import InputError

TRACES, PARTIAL = "traces.jsonl", "traces.partial"
COLUMNS = (
    "slate_id", "mode", "sample", "messages", "completion", "reasoning", "ranking", "accepted", "reason",
    "finish_reason", "prompt_tokens", "completion_tokens", "teacher",
)  # fmt: skip


def accepted_slates(paths: list[str]) -> set[str]:
    """The ids of the slates that have an accepted trace in any of the files."""
    return {row["slate_id"] for path in paths for row in read_lines(path, COLUMNS) if row["accepted"]}


class Partial:
    """The rows of an unfinished run: `rows` are those that an interrupted one left.

    The first line holds `made_of`, what a sample depends on; InputError if an interrupted run's was another.
    """

    def __init__(self, folder: Path, made_of: dict):
        self.path = folder / PARTIAL
        lines = read_appended(self.path)
        self.head = [] if lines else [json.dumps({"made_of": made_of})]
        for line in lines[:1]:
            other = [name for name in made_of if line["made_of"].get(name) != made_of[name]]
            if other:
                raise InputError(
                    f"{self.path}: holds samples of a run with other {', '.join(other)}; delete it to start anew"
                )
        self.rows = [row for line in lines[1:] for row in line["rows"]]

    def append(self, rows: list[dict]) -> None:
        append_lines(self.path, [*self.head, json.dumps({"rows": rows})])
        self.head = []


def write_traces(folder: Path, rows: list[dict]) -> None:
    """Writes `traces.jsonl` whole and drops the partial file."""
    lines = [json.dumps({name: row[name] for name in COLUMNS}) + "\n" for row in rows]
    write_text(folder / TRACES, "".join(lines))
    (folder / PARTIAL).unlink(missing_ok=True)
