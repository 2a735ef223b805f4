"""Where a system is good: by how long the user's history is, and by how often what was relevant had been seen before."""

import math

import numpy as np

from gr2.evaluation.significance import mean_interval, number

Bounds = dict[str, tuple[float, float]]  # the smallest and the largest size of a bucket
HISTORY: Bounds = {"1-5": (1, 5), "6-20": (6, 20), "21-50": (21, 50), "over 50": (51, math.inf)}
EVENTS: Bounds = {"0": (0, 0), "1-4": (1, 4), "5-19": (5, 19), "20-99": (20, 99), "over 99": (100, math.inf)}


def bucketed(
    sizes: np.ndarray, bounds: Bounds, values: dict[str, np.ndarray], metric: str, users: np.ndarray, resamples: int, seed: int
) -> dict[str, dict]:  # fmt: skip
    """By bucket of `sizes` [n]: how many of the n (`count`), and each system's mean of its `values` [n] with interval, as `metric`.

    Empty buckets are left out. Intervals are clustered by `users` [n].
    """
    table = np.stack(list(values.values()), axis=1)
    buckets = {}
    for bucket, (smallest, largest) in bounds.items():
        inside = (smallest <= sizes) & (sizes <= largest)
        if inside.any():
            mean, (low, high) = table[inside].mean(0), mean_interval(table[inside], users[inside], resamples, seed)
            found = {name: {metric: {"value": number(mean[i]), "interval": [number(low[i]), number(high[i])]}}
                     for i, name in enumerate(values)}  # fmt: skip
            buckets[bucket] = {"count": int(inside.sum()), "systems": found}
    return buckets


def found_first(orders: list[np.ndarray], relevant: np.ndarray, k: int) -> np.ndarray:
    """Whether each relevant candidate is among an order's first k, the mean over several seeds' orders int [n, K] (see
    `metrics`); relevant: bool [n, K]. Returns float [relevant candidates], slate by slate in input order.
    """
    places = np.arange(relevant.shape[1])
    ranks = [np.where(order < 0, places, order).argsort(1) for order in orders]  # padding stands last, and stays there
    return np.mean([rank[relevant] < k for rank in ranks], axis=0)
