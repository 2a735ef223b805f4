"""The user's own two files, in parquet, JSON lines, CSV or TSV, with any column names."""

import polars as pl

from gr2.data.earlier import Earlier
from gr2.data.sources.source import Source, select_from
from gr2.errors import InputError
from gr2.files.columns import read_table
from gr2.files.interactions import check_events
from gr2.files.items import read_items


def read_files(items: str, interactions: str, columns: list[str], earlier: Earlier | None = None) -> Source:
    """columns: see `column_names`. InputError names a wrong row by both names of its column.

    With `earlier` an event may be of an item that is there alone: one that has left the catalogue.
    """
    names = column_names(columns)
    try:
        frame = read_items(items, names)
        known = [frame["item_id"], *([earlier.item_ids] if earlier else [])]
        events = check_events(read_table(interactions, names), interactions, pl.concat(known))
    except InputError as error:
        raise InputError(f"{error}{name_columns(str(error), names)}") from None
    unused = next((ours for ours in names if ours not in frame.columns + events.columns), None)
    if unused:
        found = f"{', '.join(frame.columns)} and {', '.join(events.columns)}"
        expected = f"expected a column of {items} or {interactions}, found {found}"
        raise InputError(f"--columns {unused}={names[unused]}: {expected}")
    return Source(events, select_from(frame))


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
    """The end of a complaint about columns of ours: the file's columns that they were read from."""
    renamed = {ours: theirs for ours, theirs in names.items() if f"'{ours}'" in message}
    return "".join(f"; --columns reads '{ours}' from '{theirs}'" for ours, theirs in renamed.items())
