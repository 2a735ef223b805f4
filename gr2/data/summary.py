"""Counts of a prepared data set: summary.json, and what `gr2 prepare` prints."""

import polars as pl

from gr2.data.sources.source import Source
from gr2.data.splits import measure_later_share
from gr2.files.interactions import SPLITS

DROPPED = "dropped.jsonl"


def summarize(source: Source, items: pl.DataFrame, events: pl.DataFrame) -> dict:
    """The content of summary.json. items, events: what is kept of the source."""
    read = source.left_out.events_read
    return {
        "events_read": len(source.interactions) if read is None else read,
        "left_out": count_left_out(source, items, events),
        "users": events["user_id"].n_unique(),
        "items": len(items),
        "items_without_events": len(items) - events["item_id"].n_unique(),
        "events": len(events),
        "splits": {name: int((events["split"] == name).sum()) for name in SPLITS},
        "pretrain_later_than_first_test": measure_later_share(events),
        "pretrain_later_than_median_test": measure_later_share(events, 0.5),
    }


def count_left_out(source: Source, items: pl.DataFrame, events: pl.DataFrame) -> dict:
    """Rows of the user's own files, then what `k_core` left out of the rest. `items_without_events`: how many items of
    the catalogue are not kept because they have none; None if the catalogue was not read as a whole.
    """
    found, before = source.left_out, source.interactions
    known = before["item_id"].n_unique()
    catalogue = None if found.items_read is None else found.items_read - found.wrong_items
    return {
        "wrong_items": found.wrong_items,
        "wrong_events": found.wrong_events,
        "reasons": found.reasons,
        "events_of_other_types": found.other_types,
        "repeated_events": found.repeated_events,
        "k_core": {
            "users": before["user_id"].n_unique() - events["user_id"].n_unique(),
            "items": max(0, known - len(items)),
            "events": len(before) - len(events),
        },
        "items_without_events": None if catalogue is None else catalogue - max(known, len(items)),
    }


def describe(summary: dict) -> str:
    """A few lines for the terminal."""
    counts = f"{summary['users']} users, {summary['items']} items, {summary['events']} events"
    lines = [f"{counts}, splits {summary['splits']}", *describe_left_out(summary["left_out"])]
    if summary["items_without_events"]:
        lines.append(f"{summary['items_without_events']} of the items have no events")
    first, median = summary["pretrain_later_than_first_test"], summary["pretrain_later_than_median_test"]
    if first is not None:
        later = f"later than the first test event, {median:.1%} later than half of the test events"
        lines.append(f"{first:.1%} of the pretrain events are {later}")
    return "\n".join(lines)


def describe_left_out(counts: dict) -> list[str]:
    """What was left out, and what to do about it."""
    core, lines = counts["k_core"], []
    listed = {"wrong row{s} of items": counts["wrong_items"], "wrong row{s} of events": counts["wrong_events"]}
    listed |= {"repeated event{s}": counts["repeated_events"]}
    others = {"event{s} of other types": counts["events_of_other_types"]}
    others |= {f"{name[:-1]}{{s}} below the k-core": count for name, count in core.items()}
    others |= {"item{s} without events": counts["items_without_events"]}
    if words := join_counts(listed):
        lines.append(f"left out: {words}; {DROPPED} has each with its reason")
    if words := join_counts(others):
        lines.append(f"left out: {words}")
    if core["items"] or counts["items_without_events"]:
        lines.append("`--min_item_events 0` keeps all items: those without events get semantic IDs, too")
    return lines


def join_counts(counts: dict[str, int | None]) -> str:
    """{"item{s}": 3, "row{s}": 0} -> `3 items`."""
    return ", ".join(f"{count:,} {what.format(s='s' * (count != 1))}" for what, count in counts.items() if count)
