"""One of the user's own two files: its rows, what is wrong with them, and those that are right."""

from dataclasses import dataclass, field, replace

import polars as pl

from gr2.data.problems import Problem, describe, find_problems, list_rows, whole_file
from gr2.errors import InputError
from gr2.files.columns import cast_exactly, require_columns
from gr2.files.interactions import Check
from gr2.files.names import name_columns
from gr2.files.raw import ID_COLUMNS, RawTable, read_raw
from gr2.files.schema import TEXT

EVENT = "event"  # the column with the type of an event
PLACEHOLDERS = ("NULL", "null", "nan", "NaN", "None", "N/A")


@dataclass
class OwnTable:
    """raw: None where the file cannot be read, or has no rows; a problem then says so. rows_read: how many it had."""

    path: str
    names: dict[str, list[str]]
    raw: RawTable | None = None
    rows_read: int = 0
    problems: list[Problem] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            raw = read_raw(self.path, self.names)
            self.rows_read = len(raw.frame) + len(raw.broken)
            if not self.rows_read:
                raise InputError(f"{self.path}: expected rows, found none")
            self.raw = raw
        except InputError as error:
            self.problems.append(whole_file(error))
        for note in self.raw.notes if self.raw else ():
            print(f"{self.path}: {note}")
        self.describe_placeholders()

    def columns(self) -> list[str]:
        return self.raw.frame.columns if self.raw else []

    def check(self, checks: list[Check]) -> None:
        self.checks = checks
        self.problems += find_problems(self.raw, checks)

    def describe_placeholders(self) -> None:
        """Prints how many ids of a text file may stand for missing ones: any of them is an id like all others."""
        for name in ID_COLUMNS:
            if self.raw and self.raw.unit == "line" and self.raw.frame.schema.get(name) == pl.String:
                ids = self.raw.frame[name].filter(self.raw.frame[name].str.strip_chars().is_in(PLACEHOLDERS))
                if len(ids):
                    rows = f"{len(ids):,} row{'s' * (len(ids) > 1)}"
                    found = ", ".join(map(repr, ids.unique(maintain_order=True)))
                    print(f"{self.path}: column '{name}': ids that may stand for missing ones, in {rows}: {found}")

    def fill_titles(self) -> None:
        """A missing title is an empty one."""
        if self.raw and self.raw.frame.schema.get("title") in (pl.String, pl.Null):
            titles = self.raw.frame["title"].cast(pl.String).fill_null("")
            self.raw = replace(self.raw, frame=self.raw.frame.with_columns(titles))
            empty = int((titles.str.strip_chars() == "").sum())
            if empty:
                print(f"{self.path}: items without a title: {empty} of {len(titles)}")

    def keep_types(self, wanted: list[str]) -> int:
        """Keeps the events of these types, or all where none is named; returns how many are left out."""
        if not self.raw or not (wanted or EVENT in self.columns()):
            return 0
        try:
            require_columns(self.raw.frame, self.path, (EVENT,))
            types = cast_exactly(self.raw.frame[EVENT], self.path, TEXT).fill_null("")
        except InputError as error:
            self.problems.append(whole_file(error, self.raw.columns))
            return 0
        counts = dict(types.value_counts(sort=True).iter_rows())
        known = ", ".join(f"{name or 'none'} {count:,}" for name, count in counts.items())
        if not wanted:
            if len(counts) > 1:
                print(f"{self.path}: all types of events count alike ({known}); --event_types chooses some of them")
            return 0
        for name in [name for name in wanted if name not in counts]:
            error = InputError(f"--event_types {name}: expected types of {self.path}, which has {known}")
            self.problems.append(whole_file(error))
        kept = types.is_in(wanted)
        self.raw = replace(self.raw, frame=self.raw.frame.filter(kept), numbers=self.raw.numbers.filter(kept))
        return int((~kept).sum())

    def good(self) -> tuple[pl.DataFrame, pl.Series]:
        """The rows without a problem, in their types, and their indices in the frame of `raw`."""
        bad = pl.Series([row for problem in self.problems for row in problem.rows], dtype=pl.Int64)
        rows = pl.int_range(len(self.raw.frame), eager=True)
        rows = rows.filter(~rows.is_in(bad.implode()))
        frame = self.raw.frame[rows]
        for check in self.checks:
            frame = check(frame)
        return frame, rows

    def count_wrong(self) -> int:
        """Rows with a problem, and broken lines."""
        broken = len(self.raw.broken) if self.raw else 0
        return broken + len({row for problem in self.problems for row in problem.rows})

    def is_all_wrong(self) -> bool:
        return self.raw is not None and 0 < self.count_wrong() == len(self.raw.frame) + len(self.raw.broken)

    def sentences(self) -> list[str]:
        """A line for each problem."""
        unit = self.raw.unit if self.raw else ""
        described = [describe(problem, self.path, unit) for problem in self.problems]
        columns = self.raw.columns if self.raw else []
        return [sentence + name_columns(sentence, self.names, columns) for sentence in described]

    def list_rows(self, more: list[Problem]) -> list[dict]:
        return list_rows(self.raw, self.path, [*self.problems, *more])

    def count_reasons(self) -> dict[str, int]:
        return {problem.sentence: len(problem.numbers) for problem in self.problems}
