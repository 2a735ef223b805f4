"""Does an answer depend on the order in which the candidates were shown? By `shuffled.parquet` of `gr2 rerank`."""

from pathlib import Path

import numpy as np
import polars as pl

from gr2 import metrics
from gr2.arrays import pad
from gr2.evaluation.significance import Resampling, mean_interval, number
from gr2.files.rankings import SHUFFLED_FILE, read_shuffled


def measure_robustness(
    files: dict[str, list[str]], rankings: dict[str, list[pl.DataFrame]], slates: pl.DataFrame, resampling: Resampling
) -> dict[str, dict]:
    """By system with a shuffled.parquet beside its file: Kendall's tau between its answers to a shuffled slate and to
    the slate itself, and the share of the same first item, both over pairs of valid answers, with intervals.
    """
    found = {}
    for name, paths in files.items():
        tables = [
            pair_answers(read_shuffled(file, slates), frame, slates)
            for path, frame in zip(paths, rankings[name], strict=True)
            if (file := Path(path).parent / SHUFFLED_FILE).exists()
        ]
        if tables and len(pairs := pl.concat(tables)):
            found[name] = compare_answers(pairs, resampling)
    return found


def pair_answers(shuffled: pl.DataFrame, frame: pl.DataFrame, slates: pl.DataFrame) -> pl.DataFrame:
    """slate_id, user_id, ranking (of a shuffle) and first (of the slate itself); of slates that are judged."""
    first = frame.filter("valid").select("slate_id", first="ranking")
    users = slates.select("slate_id", "user_id")
    valid = shuffled.filter("valid").select("slate_id", "shuffle", "ranking")
    pairs = valid.join(first, on="slate_id", how="inner", maintain_order="left")
    return pairs.join(users, on="slate_id", how="inner", maintain_order="left")


def compare_answers(pairs: pl.DataFrame, resampling: Resampling) -> dict:
    orders = []
    for ranking, first in pairs.select("ranking", "first").iter_rows():
        rank = {item: index for index, item in enumerate(first)}
        orders.append([rank[item] for item in ranking])
    order = pad(orders, -1)
    values = np.column_stack([metrics.kendall_tau(order), order[:, 0] == 0])
    low, high = mean_interval(values, pairs["user_id"].to_numpy(), resampling.resamples, resampling.seed)
    measured = {
        name: {"value": number(values[:, i].mean()), "interval": [number(low[i]), number(high[i])]}
        for i, name in enumerate(("kendall_tau", "same_first"))
    }
    return {"slates": pairs["slate_id"].n_unique(), "shuffles": pairs["shuffle"].n_unique()} | measured
