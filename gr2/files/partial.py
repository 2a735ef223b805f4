"""The rows of an unfinished run, bound to what they were made of, so that the same command goes on where it stopped.

The first line of the file holds `made_of`, what a row depends on; every other line holds rows that were finished
together, appended and fsynced. A kill can tear only the last line. Two runs at once, which gr2's lock prevents on file
systems that have locks, may leave a second header line, duplicate rows, and lines torn in the middle. A torn line is
left out, and what it held is made again.
"""

import json
from pathlib import Path

from gr2.errors import InputError
from gr2.files.artifacts import append_lines


class PartialFile:
    """`rows`: what an interrupted run left in `path`. InputError where that run's `made_of` was another."""

    def __init__(self, path: Path, made_of: dict):
        self.path = path
        lines = read_whole_lines(path)
        heads = [line["made_of"] for line in lines if isinstance(line.get("made_of"), dict)]
        rows = [row for line in lines if isinstance(line.get("rows"), list) for row in line["rows"]]
        if rows and not heads:
            raise InputError(f"{path}: expected a line that says what its rows depend on; delete it to start again")
        for head in heads:
            other = sorted(name for name in {*made_of, *head} if head.get(name) != made_of.get(name))
            if other:
                raise InputError(f"{path}: holds rows of a run with other {', '.join(other)}; delete it to start again")
        self.head = [] if heads else [json.dumps({"made_of": made_of})]
        self.rows = [row for row in rows if isinstance(row, dict)]

    def append(self, rows: list[dict]) -> None:
        """Writes rows that were finished together, all or none of them; the folder is made with the first ones."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append_lines(self.path, [*self.head, json.dumps({"rows": rows})])
        self.head = []


def read_whole_lines(path: Path) -> list[dict]:
    """The lines that are JSON objects. A last line without an end is ended in the file: nothing is appended to it."""
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
