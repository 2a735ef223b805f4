"""Every system's orders and their metrics, by seed and over seeds.

Several rankings of one system are its seeds. A slate's value is then the mean over them, and the intervals and tests
are over users *given these seeds*: they do not say what another seed would do, which the spread of `seeds` hints at.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from gr2 import metrics
from gr2.arrays import pad
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
    """A ranking as an order, int [n, K]."""
    rows = []
    for candidates, ranked in zip(slates["candidates"].to_list(), ranking["ranking"].to_list(), strict=True):
        index = {item: i for i, item in enumerate(candidates)}
        rows.append([index[item] for item in ranked])
    return pad(rows, -1)


def measure_all(
    labels: np.ndarray, orders: dict[str, list[np.ndarray]], rankings: dict[str, list[pl.DataFrame]], ks: Sequence[int]
) -> dict[str, list[Values]]:
    """Every system's metrics, by seed."""
    return {name: measure_orders(labels, several, rankings.get(name), ks) for name, several in orders.items()}


def measure_orders(
    labels: np.ndarray, orders: list[np.ndarray], rankings: list[pl.DataFrame] | None, ks: Sequence[int]
) -> list[Values]:
    """The metrics of one system, one dict per seed. rankings: None for COMPUTED, whose answers are all valid."""
    if rankings is None:
        return [metrics.measure(labels, order, np.ones(len(labels), bool), ks) for order in orders]
    return [
        metrics.measure(labels, order, ranking["valid"].to_numpy(), ks)
        for order, ranking in zip(orders, rankings, strict=True)
    ]


def add_agreement(seeds: dict[str, list[Values]], shares: np.ndarray) -> dict[str, list[Values]]:
    """`seeds` with hr@1% and hr@10%. shares: float [orders, n] of `agreement.better_shares`."""
    rates = ({"hr@1%": (row < 0.01).astype(float), "hr@10%": (row < 0.1).astype(float)} for row in shares)
    return {name: [own | next(rates) for own in several] for name, several in seeds.items()}


def mean_over_seeds(values: list[Values]) -> Values:
    """The mean over seeds of every slate's value."""
    return {metric: np.mean([seed[metric] for seed in values], axis=0) for metric in values[0]}


def summarize(values: Values, ranking: pl.DataFrame | None) -> dict[str, float | None]:
    """Means of one system and seed, its share of unusable answers and, where the file has them, the tokens per answer.

    No wall-clock time: the same slates and answers give the same bytes.
    """
    means = {name: number(np.nanmean(value)) if not np.isnan(value).all() else None for name, value in values.items()}
    means["invalid_rate"] = 0.0 if ranking is None else number(1 - ranking["valid"].mean())
    if ranking is not None and "completion_tokens" in ranking.columns and ranking["completion_tokens"].count():
        means["mean_completion_tokens"] = number(ranking["completion_tokens"].mean())
    return means


def summarize_seeds(values: list[Values], rankings: list[pl.DataFrame] | None) -> list[dict[str, float | None]]:
    """A summary per seed; rankings: as for `measure_orders`."""
    return [summarize(one, ranking) for one, ranking in zip(values, rankings or [None], strict=True)]


def by_seed(summaries: list[dict[str, float | None]]) -> dict[str, list[float | None]]:
    """Summaries of a system's seeds -> each metric's values, in the order of the seeds."""
    names = dict.fromkeys(metric for seed in summaries for metric in seed)
    return {metric: [seed.get(metric) for seed in summaries] for metric in names}


def mean_summary(summaries: list[dict[str, float | None]]) -> dict[str, float | None]:
    """Each metric's mean over the seeds that have a value; None where none has."""
    known = {metric: [value for value in values if value is not None] for metric, values in by_seed(summaries).items()}
    return {metric: number(np.mean(values)) if values else None for metric, values in known.items()}
