"""What a reranker cannot mend: targets that no slate holds; and how much of the catalogue its lists show."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from gr2.evaluation.significance import number

PER_POSITION = ("recall", "ndcg", "map")  # 0 where the list lacks the target, so they scale with the ceiling


def recall_ceiling(slates_report: dict | None, split: str) -> float | None:
    """The share of a split's positions that have a slate, which then holds the target; None where it is not known, and
    for slates of another protocol than `next`: what is relevant is in them by construction, or was never asked for.
    """
    retrieved = slates_report is not None and slates_report["protocol"] == "next"
    counts = slates_report["splits"].get(split) if retrieved else None
    return counts["slates"] / counts["positions"] if counts and counts["positions"] else None


def end_to_end(
    systems: dict[str, dict], intervals: dict[str, dict], main: Sequence[str], ceiling: float | None
) -> dict | None:
    """Each of `main` over all positions: its mean over slates, and its interval, times the ceiling.

    The ceiling counts as known: it is the pre-ranker's, and the same for all systems.
    """
    if ceiling is None:
        return None
    metrics = [metric for metric in main if metric.partition("@")[0] in PER_POSITION]
    return {
        "recall_ceiling": number(ceiling),
        "systems": {
            name: {
                metric: {
                    "value": number(system[metric] * ceiling),
                    "interval": [None if end is None else number(end * ceiling) for end in intervals[name][metric]],
                }
                for metric in metrics
            }
            for name, system in systems.items()
        },
    }


def catalogue_coverage(
    candidates: pl.Series, orders: dict[str, list[np.ndarray]], k: int, catalogue: int | None
) -> dict:
    """How many different items each system puts among the first k of any slate, the mean over seeds; beside it how many
    are candidates at all, and the size of the catalogue where it is known. orders: int [n, K] (see `metrics`).
    """
    systems = {
        name: number(np.mean([count_shown(candidates, order, k) for order in seeds])) for name, seeds in orders.items()
    }
    return {
        "k": k,
        "catalogue": catalogue,
        "candidates": candidates.explode().n_unique(),
        "systems": systems,
    }


def count_shown(candidates: pl.Series, order: np.ndarray, k: int) -> int:
    shown = np.zeros(order.shape, bool)
    row, rank = np.nonzero(order[:, :k] >= 0)
    shown[row, order[row, rank]] = True
    return candidates.explode().filter(pl.Series(shown[order >= 0])).n_unique()
