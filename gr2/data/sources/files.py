"""The user's own two files, in parquet, JSON lines, CSV or TSV, with any column names."""

from dataclasses import replace
from datetime import UTC, datetime
from time import time_ns

import polars as pl

from gr2.data.earlier_run import EarlierRun
from gr2.data.own_table import OwnTable
from gr2.data.problems import ADVICE, Problem, refuse, whole_file
from gr2.data.sources.source import LeftOutRows, Source, select_from
from gr2.errors import InputError
from gr2.files.columns import cast_exactly
from gr2.files.interactions import KNOWN, event_checks
from gr2.files.items import drop_empty_categories, item_checks
from gr2.files.names import column_names, find_unknown
from gr2.files.schema import TEXT
from gr2.files.times import FINE, read_times

REPEATED = "the user, item and time of an earlier row"


def read_files(
    items: str,
    interactions: str,
    columns: list[str],
    earlier: EarlierRun | None = None,
    event_types: list[str] | None = None,
    drop: bool = False,
) -> Source:
    """columns: see `column_names`. event_types: those that count, all if none is named. An event of the same user, item
    and time as an earlier row is left out.

    InputError lists all that is wrong with both files; with `drop`, wrong rows are left out, and what is wrong with a
    file as a whole is refused. With `earlier` an event may be of an item that is there alone: one that has left the
    catalogue.
    """
    names = column_names(columns)
    catalogue, events = OwnTable(items, names), OwnTable(interactions, names)
    catalogue.fill_titles()
    if catalogue.raw:
        catalogue.check(item_checks(items))
    other_types = events.keep_types(event_types or [])
    if events.raw:
        known = known_ids(catalogue, earlier)
        events.check(event_checks(interactions, known))
        events.problems = [hint_at_items(problem, events, known) for problem in events.problems]
    events.problems += find_unused(names, catalogue, events)
    refuse_wrong([catalogue, events], drop)
    frame, _ = catalogue.good()
    kept, rows = events.good()
    describe_times(events, rows)
    again = find_repeated(kept)
    repeated = Problem(REPEATED, rows.filter(again).to_list(), [], [])
    left_out = LeftOutRows(
        items_read=catalogue.rows_read,
        events_read=events.rows_read,
        wrong_items=catalogue.count_wrong(),
        wrong_events=events.count_wrong(),
        reasons={file.path: file.count_reasons() for file in (catalogue, events) if file.problems},
        other_types=other_types,
        repeated_events=int(again.sum()),
        rows=[*catalogue.list_rows([]), *events.list_rows([repeated])],
    )
    return Source(kept.filter(~again), select_from(drop_empty_categories(frame)), left_out=left_out)


def known_ids(catalogue: OwnTable, earlier: EarlierRun | None) -> pl.Series | None:
    """Ids that an event may have; None where the catalogue has none to compare with."""
    if "item_id" not in catalogue.columns():
        return None
    try:
        ids = cast_exactly(catalogue.raw.frame["item_id"], catalogue.path, TEXT)
    except InputError:  # a problem of the catalogue, not of the events
        return None
    return pl.concat([ids, earlier.item_ids]) if earlier else ids


def hint_at_items(problem: Problem, events: OwnTable, known: pl.Series | None) -> Problem:
    """Says of events of unknown items how many are of known ones but for spaces or a final `.0`."""
    if known is None or problem.sentence != f"column 'item_id': expected {KNOWN}":
        return problem
    ids = events.raw.frame["item_id"].gather(problem.rows)
    near = int(simplify(ids).is_in(simplify(known).implode()).sum())
    hint = f"{near:,} of {len(ids):,} {'is' if near == 1 else 'are'} known but for spaces or a final '.0'"
    return replace(problem, hint=hint) if near else problem


def simplify(ids: pl.Series) -> pl.Series:
    return ids.cast(pl.String).str.strip_chars().str.strip_suffix(".0")


def find_unused(names: dict[str, list[str]], *files: OwnTable) -> list[Problem]:
    """A problem for each column of `--columns` that no file has, unless its absence is a problem already."""
    if any(file.raw is None for file in files):
        return []
    known = [name for file in files for name in file.columns()]
    required = ["item_id", "title", "user_id", *(["timestamp"] if "position" not in known else [])]
    unknown = find_unknown(names, {file.path: file.raw.columns for file in files})
    return [whole_file(InputError(complaint)) for name, complaint in unknown if name in known or name not in required]


def refuse_wrong(files: list[OwnTable], drop: bool) -> None:
    """InputError with all problems, unless there is none, or all are rows that may be dropped."""
    problems = [problem for file in files for problem in file.problems]
    droppable = all(problem.numbers for problem in problems)
    hopeless = [f"all rows of {file.path} are wrong" for file in files if file.is_all_wrong()]
    if problems and (hopeless or not (drop and droppable)):
        sentences = [sentence for file in files for sentence in file.sentences()]
        refuse(sentences, sum(file.count_wrong() for file in files), hopeless or [ADVICE] * droppable)


def find_repeated(events: pl.DataFrame) -> pl.Series:
    """Whether an earlier row has the same user, item and time, or position."""
    key = [name for name in ("user_id", "item_id", "position", FINE, "timestamp") if name in events.columns]
    return ~events.select(pl.struct(key).is_first_distinct()).to_series()


def describe_times(events: OwnTable, rows: pl.Series) -> None:
    """Prints how the times were read, so that a wrong unit shows, and how many are later than now."""
    if "timestamp" in events.columns():
        times, form = read_times(events.raw.frame["timestamp"].gather(rows), events.path)
        first, last = (datetime.fromtimestamp(time // 10**9, UTC).date() for time in (times.min(), times.max()))
        print(f"{events.path}: times are {form}, from {first} to {last}")
        later = int((times > time_ns()).sum())
        if later:
            print(f"{events.path}: events in the future: {later:,} of {len(times):,}, the latest on {last}")
