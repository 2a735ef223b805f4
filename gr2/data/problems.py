"""What is wrong with the rows of a file: all of it found in one go, described by kind, and listed row by row."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from math import inf
from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import BadRows, MissingColumn, abbreviate
from gr2.files.interactions import Check
from gr2.files.raw import RawTable

SHOWN = 3  # rows of a kind
ADVICE = "`--on_bad_row drop` leaves such rows out and lists them in dropped.jsonl"


@dataclass(frozen=True)
class Problem:
    """One kind of wrong rows in a file, or, without numbers, what is wrong with the file as a whole.

    sentence: of a row, `column 'item_id': expected an id`; of a file, with its path. rows: their indices in the frame
    of the `RawTable`, none for broken lines. numbers: their lines, or rows, in the file. found: what the first have.
    hint: what may be the cause.
    """

    sentence: str
    rows: list[int]
    numbers: list[int]
    found: list[str]
    hint: str = ""


def whole_file(error: InputError, columns: Collection[str] = ()) -> Problem:
    """columns: those of the file, by its own names, which the complaint about a missing one then lists."""
    if isinstance(error, MissingColumn):
        error = MissingColumn(error.sentence, columns)
    return Problem(str(error), [], [], [])


def find_problems(raw: RawTable, checks: list[Check]) -> Iterator[Problem]:
    """The broken lines, and the rows that each check refuses, those included that it refuses once others are gone.

    A row may have several problems, but only one of each check.
    """
    by_kind = groupby(sorted(raw.broken, key=lambda row: row.expected), key=lambda row: row.expected)
    for expected, group in by_kind:
        lines = list(group)
        yield Problem(f"expected {expected}", [], [row.line for row in lines], [row.found for row in lines[:SHOWN]])
    for check in checks:
        rows = pl.int_range(len(raw.frame), eager=True)
        while True:
            try:
                check(raw.frame[rows])
                break
            except BadRows as error:
                bad, values = rows.gather(error.rows), error.values.gather(error.rows[:SHOWN])
                sentence = f"column '{error.column}': expected {error.expected}"
                yield Problem(sentence, bad.to_list(), raw.numbers.gather(bad).to_list(), [*map(abbreviate, values)])
                rows = rows.filter(~rows.is_in(bad.implode()))
            except InputError as error:
                yield whole_file(error, raw.columns)
                break


def describe(problem: Problem, path: str | Path, unit: str) -> str:
    """One line: the first row with what it has, how many more there are, and some of them. unit: see `RawTable`."""
    if not problem.numbers:
        return problem.sentence
    first, *others = [f"{unit} {number}" for number in problem.numbers[:SHOWN]]
    between = ", " if problem.sentence.startswith("column") else ": "
    sentence = f"{path}: {first}{between}{problem.sentence}, found {problem.found[0]}"
    hint = f"; {problem.hint}" if problem.hint else ""
    if not others:
        return f"{sentence}{hint}"
    more = len(problem.numbers) - 1
    also = ", ".join(f"{other} {found}" for other, found in zip(others, problem.found[1:], strict=True))
    return f"{sentence} (and {more} more {unit}{'s' * (more > 1)}: {also}{', ...' * (more >= SHOWN)}){hint}"


def refuse(sentences: list[str], wrong: int, advice: list[str]) -> None:
    """InputError with all sentences; of one alone it is one line. wrong: how many rows and lines are."""
    if len(sentences) == 1:
        raise InputError("; ".join(sentences + advice))
    rows = f", {wrong:,} wrong row{'s' * (wrong != 1)}" if wrong else ""
    head = f"{len(sentences)} kinds of problems{rows}; nothing was written"
    raise InputError("\n  ".join([head, *sentences, *advice]))


def list_rows(raw: RawTable, path: str | Path, problems: list[Problem]) -> list[dict]:
    """A mapping for each row that has a problem and for each broken line, in the order of the file."""
    reasons: dict[int, list[str]] = {}
    for problem in problems:
        for row in problem.rows:
            reasons.setdefault(row, []).append(problem.sentence)
    entries = [(raw.numbers[row], found, plain(raw.frame.row(row, named=True))) for row, found in reasons.items()]
    entries += [(row.line, [f"expected {row.expected}, found {row.found}"], row.text) for row in raw.broken]
    entries = sorted(entries, key=lambda entry: entry[0])
    unit = "line" if raw.unit == "line" else "number"  # `row` is the content
    return [{"file": str(path), unit: number, "reasons": why, "row": row} for number, why, row in entries]


def plain(row: dict) -> dict:
    """The row with NaN and infinity, which JSON has not, as text."""
    return {name: value if value == value and value not in (inf, -inf) else str(value) for name, value in row.items()}
