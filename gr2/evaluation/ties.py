"""Equal scores: how often they occur, how they were broken, and what another way of breaking them would give."""

import numpy as np
import polars as pl

from gr2 import metrics
from gr2.arrays import pad
from gr2.evaluation.significance import number
from gr2.evaluation.systems import mean_of_known


def measure_ties(
    rankings: dict[str, list[pl.DataFrame]], orders: dict[str, list[np.ndarray]], labels: np.ndarray, k: int
) -> dict[str, dict]:
    """Of each system whose files have scores, the means over seeds of `count_ties`."""
    found = {}
    for name, frames in rankings.items():
        scored = [(f, order) for f, order in zip(frames, orders[name], strict=True) if "scores" in f.columns]
        if scored:
            seeds = [count_ties(frame["scores"].to_list(), order, labels, k) for frame, order in scored]
            found[name] = {key: mean_of_known([seed[key] for seed in seeds]) for key in seeds[0]}
    return found


def count_ties(scores: list[list[float] | None], order: np.ndarray, labels: np.ndarray, k: int) -> dict:
    """scores: of the ranked items, None for an answer without any, whose order stays; order: int [n, K]; labels: float
    [n, K], in input order.

    tied: the share of scored slates with an equal score twice; decisive: with one of items of different labels;
    input_order: of the tied, the share where equal scores kept the input order; worst, best: NDCG@k where every tie is
    broken against, and for, the items with the larger label.
    """
    sizes, ranked = (order >= 0).sum(1), metrics.ranked_labels(labels, order)
    complete = [row is not None and None not in row and len(row) == n for row, n in zip(scores, sizes, strict=True)]
    scored = np.array(complete)
    falling = [row if whole else -np.arange(n) for row, whole, n in zip(scores, complete, sizes, strict=True)]
    values = pad(falling, np.nan)
    same = values[:, 1:] == values[:, :-1]  # neighbours: a ranking is by falling score; NaN, past the end, equals none
    tied = scored & same.any(1)
    decisive = scored & (same & (ranked[:, 1:] != ranked[:, :-1])).any(1)
    kept = (~same | (order[:, 1:] > order[:, :-1])).all(1)
    by_score = -np.nan_to_num(values, nan=-np.inf)
    bounds = {"worst": np.nan_to_num(ranked), "best": -np.nan_to_num(ranked)}
    sorted_labels = {
        name: np.take_along_axis(ranked, np.lexsort((label, by_score)), axis=1) for name, label in bounds.items()
    }
    return {
        "tied": number(tied.sum() / scored.sum()) if scored.any() else None,
        "decisive": number(decisive.sum() / scored.sum()) if scored.any() else None,
        "input_order": number(kept[tied].mean()) if tied.any() else None,
        **{name: number(metrics.ndcg(own, k).mean()) for name, own in sorted_labels.items()},
    }
