"""Slates of an impression log: a request is a slate, its candidates in the order in which they were shown.

Labels are the clicks, the history is what the user did before the time of the request, by interactions.parquet. A
request is left out where its user has no such history (`cold`), and where fewer than two of its items are in the
catalogue (`short`).
"""

import numpy as np
import polars as pl

from gr2.files.columns import require_columns
from gr2.files.slates import SLATE_SPLITS
from gr2.retrieval.next_item import id_lists
from gr2.retrieval.positions import EventLog
from gr2.retrieval.queries import Queries

# The column of a slate that a column of the log becomes.
LISTS = {
    "item_id": "candidates",
    "click": "labels",
    "score": "scores",
    "position": "positions",
    "propensity": "propensities",
}


def read_impression_slates(
    log: EventLog, impressions: pl.DataFrame, history: int, valid: float, test: float
) -> tuple[pl.DataFrame, dict[str, dict[str, int]]]:
    """The content of slates.parquet by time, and counts by split. impressions: see `read_impressions`; history: the
    latest items that a slate keeps; valid, test: shares of the requests, the latest.
    """
    require_columns(log.events, log.path, ("timestamp",))
    known = impressions.filter(pl.col("item_id").is_in(log.item_ids.implode()))
    requests = list_requests(known).sort("timestamp", "slate_id")
    requests = requests.with_columns(split=split_requests(requests["timestamp"], valid, test))
    past, events = find_past(requests, log.events)
    kept = (past[:, 1] >= 0) & (requests["candidates"].list.len() > 1).to_numpy()
    report = count_requests(requests, past[:, 1] >= 0, kept)
    queries = Queries(events["row"].to_numpy(), past[kept, 0], past[kept, 1] + 1)
    histories = id_lists(queries.history(history), log.item_ids).alias("history")
    return requests.filter(pl.Series(kept)).with_columns(histories), report


def list_requests(impressions: pl.DataFrame) -> pl.DataFrame:
    """A row a request: `slate_id`, `user_id`, `timestamp`, the earliest of its rows, and the lists, by position."""
    named = {name: list_name for name, list_name in LISTS.items() if name in impressions.columns}
    columns = [pl.col(name).alias(list_name) for name, list_name in named.items()]
    grouped = impressions.sort("request_id", "position").group_by(slate_id="request_id", maintain_order=True)
    return grouped.agg(pl.col("user_id").first(), pl.col("timestamp").min(), *columns)


def split_requests(times: pl.Series, valid: float, test: float) -> pl.Series:
    """train, valid or test of each request by its time; requests of one moment are in one split, the later one."""
    ordered = times.sort()
    split = np.full(len(times), "train", dtype=object)
    for name, share in (("valid", valid + test), ("test", test)):
        if share and len(ordered):
            start = ordered[-max(1, round(len(ordered) * share))]
            split[(times >= start).to_numpy()] = name
    return pl.Series("split", split, dtype=pl.String)


def find_past(requests: pl.DataFrame, events: pl.DataFrame) -> tuple[np.ndarray, pl.DataFrame]:
    """int64 [requests, 2], the rows of its user's first event and of the last one before its time, or -1s; and the
    events by user and time that these are rows of.
    """
    events = events.sort("user_id", "timestamp", "position").with_columns(last=pl.int_range(pl.len()))
    events = events.with_columns(first=pl.col("last").min().over("user_id"))
    shown = requests.select("user_id", "timestamp").with_row_index("request").sort("timestamp")
    known = events.select("user_id", "timestamp", "first", "last").sort("timestamp", maintain_order=True)
    before = {"strategy": "backward", "allow_exact_matches": False, "check_sortedness": False}
    found = shown.join_asof(known, on="timestamp", by="user_id", **before)
    return found.sort("request").select(pl.col("first", "last").fill_null(-1)).to_numpy(), events


def count_requests(requests: pl.DataFrame, warm: np.ndarray, kept: np.ndarray) -> dict[str, dict[str, int]]:
    """By split, as `gr2 slates` counts them: positions, here requests whose user has a history; short; slates. And
    cold, requests without a history; unclicked, slates without a click.
    """
    clicked = (requests["labels"].list.max() > 0).to_numpy()
    report = {}
    for name in SLATE_SPLITS:
        inside = (requests["split"] == name).to_numpy()
        counts = {"positions": inside & warm, "short": inside & warm & ~kept, "slates": inside & kept}
        counts |= {"cold": inside & ~warm, "unclicked": inside & kept & ~clicked}
        report[name] = {"missed": 0} | {key: int(rows.sum()) for key, rows in counts.items()}
    return report


def describe_log(impressions: pl.DataFrame, lost: int, log: EventLog) -> dict[str, int]:
    """Counts of what is odd about a log; `gaps`: requests with positions at which it shows nothing."""
    unknown = ~impressions["item_id"].is_in(log.item_ids.implode())
    sizes = impressions.group_by("request_id").agg(pl.len(), pl.col("position").max())
    return {
        "requests": len(sizes),
        "impressions": len(impressions),
        "clicks": int((impressions["click"] > 0).sum()),
        "clicks_without_position": lost,
        "unknown_items": int(unknown.sum()),
        "clicks_on_unknown_items": int((unknown & (impressions["click"] > 0)).sum()),
        "gaps": int((sizes["position"] > sizes["len"]).sum()),
    }


def measure_earlier_share(slates: pl.DataFrame, log: EventLog) -> float:
    """The share of the slates that are not later than the last pretrain event: what is learned from it knows their
    future.
    """
    return float((slates["timestamp"] <= log.pretrain()["timestamp"].max()).mean())
