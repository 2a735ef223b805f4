"""Ranking metrics and order-copying diagnostics, one value per slate, on numpy arrays.

Two layouts run through this file, both padded to the longest slate K:
`labels` float [n, K], NaN past a slate's end: the candidates' labels, 0 = not relevant, larger = better;
`order` int [n, K], -1 past the end: `order[i, r]` is the input position (from 0) of the item now at rank r.
The metrics want labels in *ranked* order (`ranked_labels`) and return float [n]; a system's figure is the mean.
Any number of relevant items per slate and graded labels are fine. NaN marks a slate where a metric is undefined.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gr2.arrays import pad

KS = (1, 3, 5)


@dataclass(frozen=True)
class Yardstick:
    """The metrics that count, as names of `measure`: each of `main` gets intervals and tests; the verdict and the
    buckets are about `headline`, one of them.
    """

    ks: tuple[int, ...]
    main: tuple[str, ...]
    headline: str


# GR2's metrics (2602.07774).
TOP = Yardstick(KS, tuple(f"{name}@{k}" for name in ("recall", "ndcg") for k in KS), "ndcg@5")


def of_lists(size: int) -> Yardstick:
    """For list-wise rerankers, as in GloRank (2604.25291): the user sees a list of `size` items."""
    main = tuple(f"{name}@{size}" for name in ("precision", "ndcg", "map", "f1"))
    return Yardstick((size,), main, f"ndcg@{size}")


def ranked_labels(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Labels [n, K] in input order -> labels [n, K] in the order of `order`."""
    return np.where(order < 0, np.nan, np.take_along_axis(labels, np.maximum(order, 0), axis=1))


def recall(labels: np.ndarray, k: int) -> np.ndarray:
    """Share of the slate's relevant items that are in the top k; with one relevant item, the hit rate."""
    relevant = labels > 0
    return _ratio(relevant[:, :k].sum(1), relevant.sum(1))


def precision(labels: np.ndarray, k: int) -> np.ndarray:
    """Share of the first k ranks that hold a relevant item; a slate shorter than k is still divided by k."""
    return (labels[:, :k] > 0).sum(1) / k


def f1(labels: np.ndarray, k: int) -> np.ndarray:
    """Harmonic mean of precision@k and recall@k, which is 2 hits / (k + relevant)."""
    relevant = labels > 0
    return np.where(relevant.any(1), 2 * relevant[:, :k].sum(1) / (k + relevant.sum(1)), np.nan)


def average_precision(labels: np.ndarray, k: int) -> np.ndarray:
    """Precision at each relevant item in the top k, summed, over the number of relevant items; its mean is MAP@k.

    Over all of the slate's relevant items, not min(relevant, k) as in some libraries: where there are more than k, the
    best order's MAP@k is k / relevant, as is its recall@k.
    """
    relevant = labels > 0
    precision_here = relevant.cumsum(1) / np.arange(1, labels.shape[1] + 1)
    return _ratio((precision_here * relevant)[:, :k].sum(1), relevant.sum(1))


def ndcg(labels: np.ndarray, k: int) -> np.ndarray:
    """DCG@k over that of the best order; gain = the label itself, discount 1 / log2(rank + 1).

    Linear gains (Järvelin and Kekäläinen 2002), not 2^label - 1: the same for binary labels, and safe for labels
    such as seconds watched.
    """
    gains = np.nan_to_num(labels)
    best = -np.sort(-gains, axis=1)
    discounts = 1 / np.log2(np.arange(2, labels.shape[1] + 2))
    return _ratio((gains * discounts)[:, :k].sum(1), (best * discounts)[:, :k].sum(1))


def rank_ndcg(scores: Sequence[np.ndarray], labels: Sequence[Sequence[float]], k: int) -> np.ndarray:
    """NDCG@k of each list ranked by its scores, float [n]; equal ones keep the input order."""
    orders = [(-of_list).argsort(kind="stable") for of_list in scores]
    ranked = [np.array(of_list)[order] for of_list, order in zip(labels, orders, strict=True)]
    return ndcg(pad(ranked, np.nan), k)


def auc(labels: np.ndarray) -> np.ndarray:
    """Share of (relevant, not relevant) pairs in the right order; NaN for a slate that has no such pair."""
    relevant, irrelevant = labels > 0, labels == 0
    irrelevant_below = irrelevant.sum(1, keepdims=True) - irrelevant.cumsum(1)
    return _ratio((irrelevant_below * relevant).sum(1), relevant.sum(1) * irrelevant.sum(1))


def first_relevant_rank(labels: np.ndarray) -> np.ndarray:
    """Rank of the first relevant item, counted from 1."""
    relevant = labels > 0
    return np.where(relevant.any(1), relevant.argmax(1) + 1.0, np.nan)


def rank_change(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Ranks that the first relevant item rose by; negative = fell. `labels` in input order."""
    return first_relevant_rank(labels) - first_relevant_rank(ranked_labels(labels, order))


def is_identity(order: np.ndarray) -> np.ndarray:
    """True where the slate's input order was kept; the mean over valid answers is the identity rate."""
    return ((order == np.arange(order.shape[1])) | (order < 0)).all(1)


def kendall_tau(order: np.ndarray) -> np.ndarray:
    """Kendall's tau between the new order and the input order: 1 = copied, -1 = reversed (1 for a single item)."""
    mask = order >= 0
    swapped, pairs = np.zeros(len(order)), np.zeros(len(order))
    for rank in range(order.shape[1]):  # memory stays at [n, K]
        pairs += mask[:, rank + 1 :].sum(1)
        swapped += (mask[:, rank + 1 :] & (order[:, rank + 1 :] < order[:, [rank]])).sum(1)
    return 1 - 2 * swapped / np.maximum(pairs, 1)


def measure(labels: np.ndarray, order: np.ndarray, valid: np.ndarray, ks: Sequence[int] = KS) -> dict[str, np.ndarray]:
    """Every metric of one system by name, cut-off metrics at each of `ks`: float [n] each; `labels` in input order.

    valid: bool [n]. An unusable answer counts as the input order in all metrics, but not as a copy of it: identity_rate
    and kendall_tau are NaN there, and their means are over the valid answers.
    """
    ranked = ranked_labels(labels, order)
    cut_off = {"recall": recall, "ndcg": ndcg, "precision": precision, "map": average_precision, "f1": f1}
    values = {f"{name}@{k}": metric(ranked, k) for name, metric in cut_off.items() for k in ks}
    return values | {
        "auc": auc(ranked),
        "identity_rate": np.where(valid, is_identity(order), np.nan),
        "kendall_tau": np.where(valid, kendall_tau(order), np.nan),
        "rank_change": rank_change(labels, order),
    }


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(len(denominator), np.nan), where=denominator > 0)
