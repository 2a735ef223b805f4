"""`traces.jsonl`: read, and written so that an interrupted run goes on where it stopped.

While a teacher is asked, each step (one request to it, many slates) is one line of `traces.partial`, appended and
fsynced. A kill can tear only the last line, and with it one whole step, so no sample is ever lost or doubled.
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


class Steps:
    """The steps of a run: those that an interrupted run left, then new ones."""

    def __init__(self, folder: Path):
        self.path = folder / PARTIAL
        self.done = [line["rows"] for line in read_appended(self.path)]

    def next(self, expected: list[tuple[str, int]]) -> list[dict] | None:
        """The next step that was already asked, or None; InputError if it is not of these (slate_id, sample) pairs."""
        if not self.done:
            return None
        rows = self.done.pop(0)
        if [(row["slate_id"], row["sample"]) for row in rows] != expected:
            raise InputError(f"{self.path}: holds other samples than this run asks for; delete it to start anew")
        return rows

    def append(self, rows: list[dict]) -> None:
        append_lines(self.path, [json.dumps({"rows": rows})])


def write_traces(folder: Path, rows: list[dict]) -> None:
    """Writes `traces.jsonl` whole and drops the partial file."""
    lines = [json.dumps({name: row[name] for name in COLUMNS}) + "\n" for row in rows]
    write_text(folder / TRACES, "".join(lines))
    (folder / PARTIAL).unlink(missing_ok=True)
