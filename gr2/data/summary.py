"""Counts of a prepared data set: summary.json, and what `gr2 prepare` prints."""

import polars as pl

from gr2.data.splits import measure_later_share
from gr2.files.interactions import SPLITS


def summarize(events_read: int, items: pl.DataFrame, events: pl.DataFrame) -> dict:
    """The content of summary.json. events_read: how many events the source had."""
    return {
        "events_read": events_read,
        "users": events["user_id"].n_unique(),
        "items": len(items),
        "items_without_events": len(items) - events["item_id"].n_unique(),
        "events": len(events),
        "splits": {name: int((events["split"] == name).sum()) for name in SPLITS},
        "pretrain_later_than_first_test": measure_later_share(events),
        "pretrain_later_than_median_test": measure_later_share(events, 0.5),
    }


def describe(summary: dict) -> str:
    """One to three lines for the terminal."""
    counts = f"{summary['users']} users, {summary['items']} items, {summary['events']} events"
    lines = [f"{counts}, splits {summary['splits']}"]
    if summary["items_without_events"]:
        lines.append(f"{summary['items_without_events']} of the items have no events")
    first, median = summary["pretrain_later_than_first_test"], summary["pretrain_later_than_median_test"]
    if first is not None:
        later = f"later than the first test event, {median:.1%} later than half of the test events"
        lines.append(f"{first:.1%} of the pretrain events are {later}")
    return "\n".join(lines)
