"""The user's own two files, in parquet, JSON lines, CSV or TSV, under whatever column names they have."""

from gr2.data.sources.source import Source, chosen
from gr2.errors import InputError
from gr2.files.tables import read_events, read_items


def own_files(items: str, interactions: str, columns: list[str]) -> Source:
    """columns: see `column_names`."""
    names = column_names(columns)
    try:
        frame = read_items(items, names)
        events = read_events(interactions, frame["item_id"], names)
    except InputError as error:
        raise InputError(f"{error}{in_their_words(str(error), names)}") from None
    unused = next((ours for ours in names if ours not in frame.columns + events.columns), None)
    if unused:
        raise InputError(f"--columns {unused}={names[unused]}: expected a column of {items} or {interactions}, "
                         f"found {', '.join(frame.columns)} and {', '.join(events.columns)}")  # fmt: skip
    return Source(events, chosen(frame))


def column_names(columns: list[str]) -> dict[str, str]:
    """[NAME=COLUMN, ...], our name and the files' own, e.g. `item_id=sku`, as a mapping."""
    names = {}
    for entry in columns:
        ours, equals, theirs = entry.partition("=")
        if not (ours and equals and theirs):
            raise InputError(f"--columns {entry}: expected NAME=COLUMN, e.g. item_id=sku")
        if ours in names:
            raise InputError(f"--columns {entry}: expected each NAME once, found also {ours}={names[ours]}")
        names[ours] = theirs
    return names


def in_their_words(message: str, names: dict[str, str]) -> str:
    """Which of the file's columns a complaint about one of ours means."""
    return "".join(
        f"; columns takes '{ours}' from '{theirs}'" for ours, theirs in names.items() if f"'{ours}'" in message
    )
