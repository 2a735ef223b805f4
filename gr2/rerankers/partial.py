"""`answers.partial`: the answers of an unfinished rerank, bound to what they were made of.

The first line holds `made_of`, what an answer depends on; every other line is a row of rankings.parquet.
"""

import json
from pathlib import Path

from gr2.errors import InputError
from gr2.files.artifacts import append_lines, read_appended

PARTIAL = "answers.partial"


class Partial:
    """`done`: the rows that an interrupted run left, by slate_id.

    InputError where they are of another run: their `made_of` differs, or the file is none of ours.
    """

    def __init__(self, folder: Path, made_of: dict):
        self.path, self.made_of = folder / PARTIAL, made_of
        self.done: dict[str, dict] = {}
        try:
            lines = read_appended(self.path)
        except ValueError as error:
            raise InputError(f"{self.path}: expected lines of JSON ({error}); delete it to start again") from None
        self.started = bool(lines)
        for number, line in enumerate(lines):
            if not isinstance(line, dict) or not {"made_of", "slate_id"} & set(line):
                raise InputError(f"{self.path}: row {number}: expected an answer; delete the file to start again")
            if number == 0 or "made_of" in line:  # two processes in one folder leave two heads
                self.check(line.get("made_of", {}))
            else:
                self.done.setdefault(line["slate_id"], line)

    def check(self, found: dict) -> None:
        other = [name for name in self.made_of if found.get(name) != self.made_of[name]]
        if other:
            raise InputError(f"{self.path}: holds answers of a run with another {', '.join(other)}; give another "
                             "--output_dir, or delete the file to start again")  # fmt: skip

    def append(self, rows: list[dict]) -> None:
        """Appends rows and fsyncs; the folder is made with the first ones."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = rows if self.started else [{"made_of": self.made_of}, *rows]
        append_lines(self.path, [json.dumps(line, ensure_ascii=False) for line in lines])
        self.started = True
        self.done |= {row["slate_id"]: row for row in rows}
