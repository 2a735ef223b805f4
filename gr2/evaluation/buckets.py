"""Where a system is good: by how long the user's history is, and by how many events the relevant item has."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from gr2.evaluation.significance import Resampling, Values, intervals, number
from gr2.metrics import Yardstick

Bounds = dict[str, tuple[float, float]]  # the smallest and the largest size of a bucket
HISTORY: Bounds = {"1-5": (1, 5), "6-20": (6, 20), "21-50": (21, 50), "over 50": (51, math.inf)}
EVENTS: Bounds = {"0": (0, 0), "1-4": (1, 4), "5-19": (5, 19), "20-99": (20, 99), "over 99": (100, math.inf)}


def measure_buckets(
    sizes: np.ndarray, bounds: Bounds, values: dict[str, Values], metrics: Sequence[str], resampling: Resampling
) -> dict[str, dict]:
    """By bucket of `sizes` [n]: how many of the n (`count`), and each system's mean of `metrics` with its interval.

    Empty buckets are left out.
    """
    buckets = {}
    for bucket, (smallest, largest) in bounds.items():
        inside = (smallest <= sizes) & (sizes <= largest)
        if not inside.any():
            continue
        part = {name: {metric: by_metric[metric][inside] for metric in metrics} for name, by_metric in values.items()}
        interval = intervals(part, metrics, resampling._replace(users=resampling.users[inside]))
        systems = {
            name: {m: {"value": number(by_metric[m].mean()), "interval": interval[name][m]} for m in metrics}
            for name, by_metric in part.items()
        }
        buckets[bucket] = {"count": int(inside.sum()), "systems": systems}
    return buckets


def found_first(orders: list[np.ndarray], relevant: np.ndarray, k: int) -> np.ndarray:
    """Whether each relevant candidate is among an order's first k, the mean over several seeds' orders int [n, K] (see
    `metrics`); relevant: bool [n, K]. Returns float [relevant candidates], slate by slate in input order.
    """
    columns = np.arange(relevant.shape[1])
    ranks = [np.where(order < 0, columns, order).argsort(1) for order in orders]  # padding stays at the end
    return np.mean([rank[relevant] < k for rank in ranks], axis=0)


def measure_slate_buckets(
    slates: pl.DataFrame,
    labels: np.ndarray,
    orders: dict[str, list[np.ndarray]],
    values: dict[str, Values],
    yardstick: Yardstick,
    counts: dict[str, int] | None,
    resampling: Resampling,
) -> dict[str, dict]:
    """The headline by the length of the history; with `counts`, events by item, also `found@k` by the items'."""
    lengths = slates["history"].list.len().to_numpy()
    buckets = {"history": measure_buckets(lengths, HISTORY, values, [yardstick.headline], resampling)}
    if counts is not None:
        (rows, _), k = np.nonzero(labels > 0), yardstick.ks[-1]
        relevant = slates["candidates"].explode().filter(pl.Series(labels[~np.isnan(labels)] > 0))
        events = np.array([counts.get(item, 0) for item in relevant])
        found = {name: {f"found@{k}": found_first(several, labels > 0, k)} for name, several in orders.items()}
        by_item = resampling._replace(users=resampling.users[rows])
        buckets["events"] = measure_buckets(events, EVENTS, found, [f"found@{k}"], by_item)
    return buckets
