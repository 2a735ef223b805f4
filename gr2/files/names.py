"""`--columns NAME=COLUMN`: gr2's names of columns, and those of the user's own files."""

import re
from collections.abc import Collection

from gr2.errors import InputError, did_you_mean


def column_names(columns: list[str]) -> dict[str, list[str]]:
    """[NAME=COLUMN, ...], e.g. `item_id=sku`, as a mapping from our name to the files': several where the files differ,
    of which each file has one at most.
    """
    names: dict[str, list[str]] = {}
    for entry in columns:
        ours, equals, theirs = entry.partition("=")
        if not (ours and equals and theirs):
            raise InputError(f"--columns {entry}: expected NAME=COLUMN, e.g. item_id=sku")
        if theirs in names.get(ours, []):
            raise InputError(f"--columns {entry}: expected it once, found it twice")
        names.setdefault(ours, []).append(theirs)
    return names


def choose_columns(names: dict[str, list[str]], path: str, columns: Collection[str]) -> dict[str, str]:
    """Our name -> the file's, of the columns that it has; InputError where it has two for one name."""
    chosen = {}
    for ours, given in names.items():
        found = [theirs for theirs in given if theirs in columns]
        if len(found) > 1:
            options = " ".join(f"{ours}={theirs}" for theirs in found)
            raise InputError(f"--columns {options}: expected one of these columns in {path}, found {len(found)}")
        if found:
            chosen[ours] = found[0]
    return chosen


def find_unknown(names: dict[str, list[str]], files: dict[str, Collection[str]]) -> list[tuple[str, str]]:
    """Our name and a sentence for each column of `--columns` that none of the files has. files: path -> columns."""
    known = [column for columns in files.values() for column in columns]
    unknown = [(ours, theirs) for ours, given in names.items() for theirs in given if theirs not in known]
    found = " and ".join(", ".join(columns) for columns in files.values())
    expected = f"expected a column of {' or '.join(files)}, found {found}"
    return [(ours, f"--columns {ours}={theirs}: {expected}{did_you_mean(theirs, known)}") for ours, theirs in unknown]


def name_columns(message: str, names: dict[str, list[str]], columns: Collection[str] | None = None) -> str:
    """The end of a complaint about columns of ours: the file's columns that they were read from, or how to name one.

    columns: those of the file, None where it has all of `names`.
    """
    missing = re.search(r"column '(\w+)' is missing|expected a column '(\w+)'", message)
    if missing:
        name = missing[1] or missing[2]
        if name not in names:
            return f"; if another column has it: --columns {name}=COLUMN"
        advice = did_you_mean(names[name][0], columns or []) or f"; if another column has it, add {name}=COLUMN"
        return f"; --columns looks for {' or '.join(map(repr, names[name]))}{advice}"
    named = [(ours, theirs) for ours, given in names.items() if f"column '{ours}'" in message for theirs in given]
    renamed = [(ours, theirs) for ours, theirs in named if columns is None or theirs in columns]
    return "".join(f"; --columns reads '{ours}' from '{theirs}'" for ours, theirs in renamed)
