"""Every system's orders and their metrics, by seed and over seeds.

Several rankings of one system are its seeds. A slate's value is then the mean over them, and the intervals and tests
are over users *given these seeds*: they do not say what another seed would do, which the spread of `seeds` hints at.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import polars as pl

from gr2 import metrics
from gr2.arrays import pad_lists
from gr2.errors import InputError
from gr2.evaluation.significance import Values, number

COMPUTED = ("input_order", "random", "oracle")  # systems that need no rankings file


def choose_yardstick(list_size: int | None, labels: np.ndarray) -> metrics.Yardstick:
    if list_size and list_size > labels.shape[1]:
        raise InputError(f"--list_size {list_size}: expected at most {labels.shape[1]}, the size of the largest slate")
    return metrics.of_lists(list_size) if list_size else metrics.TOP


def all_orders(
    slates: pl.DataFrame, labels: np.ndarray, rankings: dict[str, list[pl.DataFrame]], seed: int
) -> dict[str, list[np.ndarray]]:
    """Each system's orders, int [n, K] (see `metrics`), one per seed: of `rankings`, and of COMPUTED."""
    mask = ~np.isnan(labels)
    shuffled = np.argsort(np.where(mask, np.random.default_rng(seed).random(labels.shape), np.inf), axis=1)
    best = np.argsort(-labels, axis=1, kind="stable")  # NaN goes last
    return {
        "input_order": [np.where(mask, np.arange(labels.shape[1]), -1)],
        **{name: [input_positions(slates, frame) for frame in frames] for name, frames in rankings.items()},
        "random": [np.where(mask, shuffled, -1)],
        "oracle": [np.where(mask, best, -1)],
    }


def input_positions(slates: pl.DataFrame, ranking: pl.DataFrame) -> np.ndarray:
    """A ranking as an order, int [n, K]: sorted by item, both are the same list."""
    by_item = pl.element().arg_sort().cast(pl.Int64)
    given, ranked = (pad_lists(lists.list.eval(by_item), -1) for lists in (slates["candidates"], ranking["ranking"]))
    order = np.empty_like(given)
    np.put_along_axis(order, np.where(ranked < 0, np.arange(ranked.shape[1]), ranked), given, axis=1)
    return order


def measure_all(
    labels: np.ndarray, orders: dict[str, list[np.ndarray]], rankings: dict[str, list[pl.DataFrame]], ks: Sequence[int]
) -> dict[str, list[Values]]:
    """Every system's metrics, by seed; answers of COMPUTED are all valid."""
    seeds = {}
    for name, several in orders.items():
        valid = [frame["valid"].to_numpy() for frame in rankings.get(name, [])] or [np.ones(len(labels), bool)]
        seeds[name] = [metrics.measure(labels, order, mask, ks) for order, mask in zip(several, valid, strict=True)]
    return seeds


def add_agreement(seeds: dict[str, list[Values]], shares: np.ndarray) -> None:
    """Adds hr@1% and hr@10% to every seed's metrics. shares: float [orders, n] of `agreement.better_shares`."""
    for values, share in zip(chain.from_iterable(seeds.values()), shares, strict=True):
        values.update({"hr@1%": (share < 0.01).astype(float), "hr@10%": (share < 0.1).astype(float)})


def mean_over_seeds(values: list[Values]) -> Values:
    """The mean over seeds of every slate's value."""
    return {metric: np.mean([seed[metric] for seed in values], axis=0) for metric in values[0]}


def strongest_reranker(kinds: dict[str, str], values: dict[str, Values], metric: str) -> str | None:
    """The best learned reranker that is no language model, by the mean of `metric`: the baseline of a report. None
    without such a one, or where nothing else was learned.
    """
    small = [name for name, kind in kinds.items() if kind == "reranker"]
    if not small or len(small) + list(kinds.values()).count("language model") < 2:
        return None
    return max(small, key=lambda name: values[name][metric].mean())


def summarize(values: Values, ranking: pl.DataFrame | None) -> dict[str, float | None]:
    """Means of one system and seed, its share of unusable answers and, where the file has them, the tokens per answer.

    No wall-clock time: the same slates and answers give the same bytes.
    """
    means = {name: number(np.nanmean(value)) if not np.isnan(value).all() else None for name, value in values.items()}
    means["invalid_rate"] = 0.0 if ranking is None else number(1 - ranking["valid"].mean())
    if ranking is not None and "completion_tokens" in ranking.columns and ranking["completion_tokens"].count():
        means["mean_completion_tokens"] = number(ranking["completion_tokens"].mean())
    return means


def summarize_systems(seeds: dict[str, list[Values]], rankings: dict[str, list[pl.DataFrame]]) -> dict[str, dict]:
    """`systems`: the mean of each metric over a system's seeds; `seeds`: of systems with several, a value per seed."""
    by_seed = {}
    for name, several in seeds.items():
        summaries = [summarize(*pair) for pair in zip(several, rankings.get(name, [None]), strict=True)]
        metrics = dict.fromkeys(metric for summary in summaries for metric in summary)
        by_seed[name] = {metric: [summary.get(metric) for summary in summaries] for metric in metrics}
    means = {name: {metric: mean_of_known(row) for metric, row in row_of.items()} for name, row_of in by_seed.items()}
    return {"systems": means, "seeds": {name: row_of for name, row_of in by_seed.items() if len(seeds[name]) > 1}}


def mean_of_known(values: list[float | None]) -> float | None:
    """The mean over the seeds that have a value; None where none has."""
    known = [value for value in values if value is not None]
    return number(np.mean(known)) if known else None
