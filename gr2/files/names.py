"""`--columns NAME=COLUMN`: gr2's names of columns, and those of the user's own files."""

import re

from gr2.errors import InputError


def column_names(columns: list[str]) -> dict[str, str]:
    """[NAME=COLUMN, ...], e.g. `item_id=sku`, as a mapping from our name to the files'."""
    names = {}
    for entry in columns:
        ours, equals, theirs = entry.partition("=")
        if not (ours and equals and theirs):
            raise InputError(f"--columns {entry}: expected NAME=COLUMN, e.g. item_id=sku")
        if ours in names:
            raise InputError(f"--columns {entry}: expected each NAME once, found also {ours}={names[ours]}")
        names[ours] = theirs
    return names


def name_columns(message: str, names: dict[str, str]) -> str:
    """The end of a complaint about columns of ours: the file's columns that they were read from, or how to name one."""
    missing = re.search(r"column '(\w+)' is missing|expected a column '(\w+)'", message)
    if missing and (name := missing[1] or missing[2]) not in names:
        return f"; if another column has it: --columns {name}=COLUMN"
    renamed = {ours: theirs for ours, theirs in names.items() if f"'{ours}'" in message}
    return "".join(f"; --columns reads '{ours}' from '{theirs}'" for ours, theirs in renamed.items())
