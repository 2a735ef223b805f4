"""Full-catalogue evaluation: where in a pre-ranker's list is the item that came next, among all items?

Every position of the split counts, also those without a list and those whose list lacks the target: they are misses.
A list that ends before rank K counts as a miss at K. Intervals and tests are clustered by user.
"""

import math
from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.evaluation.buckets import Bounds, measure_buckets
from gr2.evaluation.significance import Resampling, comparisons, intervals, number
from gr2.files.artifacts import MANIFEST, read_json
from gr2.files.top_k import read_top_k
from gr2.retrieval.lists import as_arrays
from gr2.retrieval.positions import EventLog, Positions, select_positions

KS = (1, 5, 10, 50)
METRICS = tuple(f"{name}@{k}" for k in KS for name in ("recall", "ndcg"))
COMPARED = ("recall@10", "ndcg@10")
POPULARITY: Bounds = {"0 (cold start)": (0, 0), "1-4": (1, 4), "5-9": (5, 9), "10-19": (10, 19), "20-49": (20, 49),
                      "50 and more": (50, math.inf)}  # fmt: skip
HISTORY: Bounds = {"1-4": (1, 4), "5-9": (5, 9), "10-19": (10, 19), "20 and more": (20, math.inf)}


def evaluate(log: EventLog, split: str, lists: dict[str, str], resamples: int, seed: int) -> tuple[dict, dict]:
    """(content of metrics.json, recall at depths 1 to 50 by system). lists: name -> file, see `read_top_k`."""
    positions = select_positions(log.events, [split], None)
    if positions.frame.is_empty():
        raise InputError(f"{log.path}: column 'split': expected positions of '{split}' with a past, found none")
    tops = {name: read_rows(file, positions, log) for name, file in lists.items()}
    ranks = {name: target_ranks(top, positions) for name, top in tops.items()}
    values = {name: measure(rank) for name, rank in ranks.items()}
    counts = np.bincount(log.events.filter(pl.col("split") == "pretrain")["row"], minlength=len(log.item_ids))
    sizes = {
        "popularity": (counts[positions.frame["row"].to_numpy()], POPULARITY),
        "history": (positions.queries.at - positions.queries.start, HISTORY),
    }
    resampling = Resampling(positions.frame["user_id"].to_numpy(), resamples, seed)
    buckets = {kind: measure_buckets(*sized, values, COMPARED, resampling) for kind, sized in sizes.items()}
    results = {
        "split": split,
        "positions": len(positions.frame),
        "users": positions.frame["user_id"].n_unique(),
        "items": len(log.item_ids),
        "without_list": {name: int((top < 0).all(1).sum()) for name, top in tops.items()},
        "systems": {name: {metric: number(of[metric].mean()) for metric in METRICS} for name, of in values.items()},
        "intervals": intervals(values, METRICS, resampling),
        "comparisons": comparisons(values, COMPARED, [next(iter(values))], resampling),
        "buckets": {
            kind: {name: {"positions": part["count"], "systems": part["systems"]} for name, part in parts.items()}
            for kind, parts in buckets.items()
        },
    }
    depths = range(1, max(KS) + 1)
    return results, {name: np.array([(rank < k).mean() for k in depths]) for name, rank in ranks.items()}


def read_rows(file: str, positions: Positions, log: EventLog) -> np.ndarray:
    """Item rows of each position's list, best first: int [n, 50], -1 behind its end."""
    table = read_top_k(file, log.item_ids, positions.frame, log.events)
    top, _ = as_arrays(table, positions.frame, log.item_ids, max(KS))
    if (top < 0).all():
        raise InputError(f"{file}: expected lists for positions of the split, found none of them")
    return top


def target_ranks(top: np.ndarray, positions: Positions) -> np.ndarray:
    """Rank of the target, counted from 0, in each position's list: float [n], infinite where the list lacks it."""
    is_target = top == positions.frame["row"].to_numpy()[:, None]
    return np.where(is_target.any(1), is_target.argmax(1), np.inf)


def read_making(file: str) -> dict:
    """How a list was made, as the files beside it say: pre-ranker, what it did with seen items, seconds, command."""
    folder = Path(file).parent
    report = read_json(folder / "slates_report.json") if (folder / "slates_report.json").exists() else {}
    manifest = read_json(folder / MANIFEST) if (folder / MANIFEST).exists() else {}
    excluded = report.get("exclude_seen")
    seen = "never listed" if excluded is True else "may be listed" if excluded is False else "not recorded"
    command = manifest.get("command", "not recorded")
    made = {"pre_ranker": report.get("pre_ranker", "not recorded"), "seen": seen}
    return made | {"seconds": manifest.get("seconds"), "command": command}


def measure(rank: np.ndarray) -> dict[str, np.ndarray]:
    """With one relevant item: recall@K = it is among the first K; NDCG@K = 1 / log2(rank + 2) if it is."""
    values = {}
    for k in KS:
        values[f"recall@{k}"] = (rank < k).astype(float)
        values[f"ndcg@{k}"] = np.where(rank < k, 1 / np.log2(np.minimum(rank, k) + 2), 0.0)
    return values
