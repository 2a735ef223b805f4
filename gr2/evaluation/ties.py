"""Equal scores: how often they occur, how they were broken, and what another way of breaking them would give."""

import numpy as np
import polars as pl

from gr2 import metrics
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
            seeds = [count_ties(frame["scores"], order, labels, k) for frame, order in scored]
            found[name] = {key: mean_of_known([seed[key] for seed in seeds]) for key in seeds[0]}
    return found


def count_ties(scores: pl.Series, order: np.ndarray, labels: np.ndarray, k: int) -> dict:
    """scores: lists, of the ranked items; null for an answer without any, whose order stays; order: int [n, K]; labels:
    float [n, K], in input order.

    tied: the share of scored slates with an equal score twice; decisive: with one of items of different labels;
    input_order: of the tied, the share where equal scores kept the input order; worst, best: NDCG@k where every tie is
    broken against, and for, the items with the larger label.
    """
    sizes, ranked = (order >= 0).sum(1), metrics.ranked_labels(labels, order)
    whole = (scores.list.len() == sizes) & (scores.list.drop_nulls().list.len() == sizes)
    scored = whole.fill_null(False).to_numpy()
    values = np.where(order >= 0, -np.arange(order.shape[1], dtype=float), np.nan)
    values[(order >= 0) & scored[:, None]] = scores.filter(pl.Series(scored)).explode()
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
        **{name: number(metrics.ndcg(labels, k).mean()) for name, labels in sorted_labels.items()},
    }
