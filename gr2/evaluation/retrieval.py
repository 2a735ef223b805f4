"""Full-catalogue evaluation: where in a pre-ranker's list is the item that came next, among all items?

Every position of the split counts, also those whose target no list holds. A list that ends before rank K counts as a miss
at K. Intervals and tests are clustered by user.
"""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.evaluation.significance import compare, mean_interval, number
from gr2.files.artifacts import MANIFEST, read_json
from gr2.files.tables import read_interactions, read_items
from gr2.retrieval.positions import Positions, asked, numbered
from gr2.retrieval.top_k import as_arrays, read_top_k

KS = (1, 5, 10, 50)
METRICS = tuple(f"{name}@{k}" for k in KS for name in ("recall", "ndcg"))
COMPARED = ("recall@10", "ndcg@10")
# Lower bounds and what a reader calls the bucket; the last has no upper bound.
POPULARITY = {0: "0 (cold start)", 1: "1-4", 5: "5-9", 10: "10-19", 20: "20-49", 50: "50 and more"}
HISTORY = {1: "1-4", 5: "5-9", 10: "10-19", 20: "20 and more"}


def evaluate(
    interactions: str, items: str, split: str, lists: dict[str, str], resamples: int, seed: int
) -> tuple[dict, dict]:
    """(content of metrics.json, recall at every depth by system: float [50]). lists: name -> file of `user_id`, `position`,
    `candidates`.
    """
    item_ids = read_items(items)["item_id"]
    events = numbered(read_interactions(interactions, item_ids), interactions, item_ids)
    positions = asked(events, [split], None)
    if positions.frame.is_empty():
        raise InputError(f"{interactions}: column 'split': expected positions of '{split}' with a past, found none")
    ranks = {name: target_ranks(file, positions, item_ids) for name, file in lists.items()}
    values = {name: np.stack([measures(rank)[metric] for metric in METRICS], axis=1) for name, rank in ranks.items()}
    counts = np.bincount(events.filter(pl.col("split") == "pretrain")["row"], minlength=len(item_ids))
    buckets = {
        "popularity": bucket(counts[positions.frame["row"].to_numpy()], POPULARITY),
        "history": bucket(positions.queries.at - positions.queries.start, HISTORY),
    }
    users = positions.frame["user_id"].to_numpy()
    results = {
        "split": split,
        "positions": len(users),
        "users": positions.frame["user_id"].n_unique(),
        "items": len(item_ids),
        "systems": {name: dict(zip(METRICS, rounded(rows.mean(0)), strict=True)) for name, rows in values.items()},
        **significance(values, users, resamples, seed),
        "buckets": {kind: by_bucket(names, values, users, resamples, seed) for kind, names in buckets.items()},
    }
    return results, {name: np.array([(rank < k).mean() for k in range(1, max(KS) + 1)]) for name, rank in ranks.items()}


def target_ranks(file: str, positions: Positions, item_ids: pl.Series) -> np.ndarray:
    """Rank of the target, counted from 0, in each position's list: float [n], infinite where the list lacks it."""
    table = read_top_k(file, item_ids, positions.frame)
    top, _ = as_arrays(table, positions.frame, item_ids, max(KS))
    if (top < 0).all():
        raise InputError(f"{file}: expected lists for positions of the split, found none of them")
    held = top == positions.frame["row"].to_numpy()[:, None]
    return np.where(held.any(1), held.argmax(1), np.inf)


def making(file: str) -> dict:
    """How a list was made, as far as the stage that wrote it says so: pre-ranker, what it did with seen items, command."""
    beside = Path(file).parent
    report = read_json(beside / "slates_report.json") if (beside / "slates_report.json").exists() else {}
    manifest = read_json(beside / MANIFEST) if (beside / MANIFEST).exists() else {}
    excluded = report.get("exclude_seen")
    seen = "never listed" if excluded is True else "may be listed" if excluded is False else "not recorded"
    return {"pre_ranker": report.get("pre_ranker", "not recorded"), "seen": seen, "seconds": manifest.get("seconds"),
            "command": manifest.get("command", "not recorded")}  # fmt: skip


def measures(rank: np.ndarray) -> dict[str, np.ndarray]:
    """With one relevant item: recall@K = it is among the first K; NDCG@K = 1 / log2(rank + 2) if it is."""
    found = {}
    for k in KS:
        found[f"recall@{k}"] = (rank < k).astype(float)
        found[f"ndcg@{k}"] = np.where(rank < k, 1 / np.log2(np.minimum(rank, k) + 2), 0.0)
    return found


def bucket(values: np.ndarray, names: dict[int, str]) -> np.ndarray:
    """The bucket's name of each value, [n]."""
    place = np.searchsorted(list(names), values, side="right") - 1
    return np.array(list(names.values()))[place]


def by_bucket(names: np.ndarray, values: dict[str, np.ndarray], users: np.ndarray, resamples: int, seed: int) -> dict:
    """By bucket: its positions, and each system's recall@10 and NDCG@10 with intervals."""
    columns = [METRICS.index(metric) for metric in COMPARED]
    found = {}
    for name in sorted(set(names), key=lambda name: int(name.split("-")[0].split()[0])):
        inside = names == name
        every = np.stack([rows[inside][:, columns] for rows in values.values()], axis=1)
        low, high = mean_interval(every, users[inside], resamples, seed)
        found[name] = {"positions": int(inside.sum()), "systems": {
            system: {metric: {"value": mean, "interval": rounded([low[i, j], high[i, j]])}
                     for j, (metric, mean) in enumerate(zip(COMPARED, rounded(every[:, i].mean(0)), strict=True))}
            for i, system in enumerate(values)}}  # fmt: skip
    return found


def significance(values: dict[str, np.ndarray], users: np.ndarray, resamples: int, seed: int) -> dict:
    """Intervals of every figure, and each system against the first on recall@10 and NDCG@10."""
    every = np.stack(list(values.values()), axis=1)
    low, high = mean_interval(every, users, resamples, seed)
    intervals = {name: {metric: rounded([low[i, j], high[i, j]]) for j, metric in enumerate(METRICS)}
                 for i, name in enumerate(values)}  # fmt: skip
    columns = [METRICS.index(metric) for metric in COMPARED]
    first, comparisons = next(iter(values)), []
    against = compare(every[:, 1:, columns], every[:, :1, columns], users, resamples, seed) if len(values) > 1 else None
    for i, name in enumerate(list(values)[1:]):
        for j, metric in enumerate(COMPARED):
            figures = (against.delta[i, j], against.low[i, j], against.high[i, j], against.p_value[i, j])
            comparisons.append({"system": name, "baseline": first, "metric": metric}
                               | dict(zip(("delta", "ci_low", "ci_high", "p_value"), rounded(figures), strict=True)))  # fmt: skip
    return {"intervals": intervals, "comparisons": comparisons}


def rounded(values) -> list[float | None]:
    return [number(value) for value in values]
