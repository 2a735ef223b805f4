"""The figures of metrics.json: every system's order, its means, and what differs by more than luck.

Several rankings of one system are its seeds. A slate's value is then the mean over them, and the intervals and tests are
over users *given these seeds*: they do not say what another seed would do, which the spread of `seeds` hints at.
"""

import numpy as np
import polars as pl

from gr2 import metrics
from gr2.evaluation.significance import compare, mean_interval, number

Values = dict[str, np.ndarray]  # of one system, by metric: float [slates]


def all_orders(
    slates: pl.DataFrame, labels: np.ndarray, rankings: dict[str, list[pl.DataFrame]], seed: int
) -> dict[str, list[np.ndarray]]:
    """Each system's orders, int [n, K] (see `metrics`), one a seed: the input order, the given ones, a random and the best one."""
    there = ~np.isnan(labels)
    shuffled = np.argsort(np.where(there, np.random.default_rng(seed).random(labels.shape), np.inf), axis=1)
    best = np.argsort(-labels, axis=1, kind="stable")  # NaN goes last
    return {
        "input_order": [np.where(there, np.arange(labels.shape[1]), -1)],
        **{name: [input_positions(slates, frame) for frame in frames] for name, frames in rankings.items()},
        "random": [np.where(there, shuffled, -1)],
        "oracle": [np.where(there, best, -1)],
    }


def input_positions(slates: pl.DataFrame, ranking: pl.DataFrame) -> np.ndarray:
    rows = []
    for candidates, ranked in zip(slates["candidates"].to_list(), ranking["ranking"].to_list(), strict=True):
        position = {item: at for at, item in enumerate(candidates)}
        rows.append([position[item] for item in ranked])
    return metrics.pad(rows, -1)


def over_seeds(values: list[Values]) -> Values:
    """The mean over seeds of every slate's value."""
    return {metric: np.mean([seed[metric] for seed in values], axis=0) for metric in values[0]}


def summary(values: Values, ranking: pl.DataFrame | None) -> dict[str, float | None]:
    """Means of one system and seed, its share of unusable answers and, where the file tells, what an answer cost in tokens.

    No wall-clock time: the same slates and answers give the same bytes.
    """
    means = {name: number(np.nanmean(value)) if not np.isnan(value).all() else None for name, value in values.items()}
    means["invalid_rate"] = 0.0 if ranking is None else number(1 - ranking["valid"].mean())
    if ranking is not None and "completion_tokens" in ranking.columns and ranking["completion_tokens"].count():
        means["mean_completion_tokens"] = number(ranking["completion_tokens"].mean())
    return means


def by_seed(summaries: list[dict[str, float | None]]) -> dict[str, list[float | None]]:
    """Summaries of a system's seeds -> the values of each metric, in the order of the files."""
    names = dict.fromkeys(metric for seed in summaries for metric in seed)
    return {metric: [seed.get(metric) for seed in summaries] for metric in names}


def mean_summary(summaries: list[dict[str, float | None]]) -> dict[str, float | None]:
    """What `systems` holds; None where no seed has a value."""
    known = {metric: [value for value in values if value is not None] for metric, values in by_seed(summaries).items()}
    return {metric: number(np.mean(values)) if values else None for metric, values in known.items()}


def significance(
    values: dict[str, Values], main: tuple[str, ...], baselines: list[str], users: np.ndarray, resamples: int, seed: int
) -> dict[str, dict | list]:
    """On the `main` metrics: `intervals` of every system, and `comparisons` of each with every baseline."""
    names = list(values)
    table = np.stack([[values[name][metric] for metric in main] for name in names]).transpose(2, 0, 1)
    low, high = mean_interval(table, users, resamples, seed)  # of [slates, systems, metrics]
    intervals = {
        name: {metric: [number(low[i, j]), number(high[i, j])] for j, metric in enumerate(main)}
        for i, name in enumerate(names)
    }
    comparisons = []
    for baseline in baselines:
        found = compare(table, table[:, [names.index(baseline)]], users, resamples, seed)
        comparisons += [
            {
                "system": name,
                "baseline": baseline,
                "metric": metric,
                "delta": number(found.delta[i, j]),
                "ci_low": number(found.low[i, j]),
                "ci_high": number(found.high[i, j]),
                "p_value": number(found.p_value[i, j]),
            }
            for i, name in enumerate(names)
            if name not in (baseline, "input_order")
            for j, metric in enumerate(main)
        ]
    return {"intervals": intervals, "comparisons": comparisons}
