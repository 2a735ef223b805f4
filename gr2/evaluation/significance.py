"""Is a difference between two systems more than luck? Bootstrap intervals and sign-flip tests, clustered by user.

A user's slates are alike, so the unit that is resampled or flipped is the user with all slates, never one slate. Of
more than MOST users it is one of MOST random groups of them (Wolter 2007, Introduction to Variance Estimation, ch. 2):
users are independent, so groups of them are too, and as many tell the width of an interval to half a percent.
Values are [n, ...], one row per slate; users [n]; results have the trailing shape, so that many systems and
metrics share one set of resamples. Everything is deterministic under `seed`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
FEW = 200  # users; with fewer the percentile interval is too short
MOST = 25_000  # units: time and memory stop growing there
CELLS = 2_000_000  # floats held at a time, 16 MB

Values = dict[str, np.ndarray]  # one system's, by metric: float [n]


class Resampling(NamedTuple):
    """users: [n], of each row of values."""

    users: np.ndarray
    resamples: int
    seed: int


@dataclass(frozen=True)
class Comparison:
    """Mean over slates of system - baseline, its 95 % interval and the two-sided p-value, each [...]."""

    delta: np.ndarray
    ci_low: np.ndarray
    ci_high: np.ndarray
    p_value: np.ndarray


def intervals(
    values: dict[str, Values], metrics: Sequence[str], resampling: Resampling
) -> dict[str, dict[str, list[float | None]]]:
    """By system and metric: [low, high] of the mean."""
    low, high = mean_interval(_table(values, metrics), *resampling)
    return {
        name: {metric: [number(low[i, j]), number(high[i, j])] for j, metric in enumerate(metrics)}
        for i, name in enumerate(values)
    }


def comparisons(
    values: dict[str, Values], metrics: Sequence[str], baselines: list[str], resampling: Resampling
) -> list[dict]:
    """Every system against every baseline on `metrics`; the first baseline is itself compared with none."""
    pairs = [(name, other) for other in baselines for name in values if name not in (other, baselines[0])]
    if not pairs:
        return []
    table = dict(zip(values, _table(values, metrics).swapaxes(0, 1), strict=True))
    differences = np.stack([table[name] - table[other] for name, other in pairs], axis=1)
    found = compare(differences, np.zeros(1), *resampling)
    return [
        {"system": name, "baseline": other, "metric": metric}
        | {field: number(figures[i, j]) for field, figures in vars(found).items()}
        for i, (name, other) in enumerate(pairs)
        for j, metric in enumerate(metrics)
    ]


def compare(system: np.ndarray, baseline: np.ndarray, users: np.ndarray, resamples: int, seed: int) -> Comparison:
    """Paired comparison of two systems on the same slates: `system` and `baseline` [n, ...] broadcast."""
    difference = np.asarray(system - baseline, dtype=float)
    low, high = mean_interval(difference, users, resamples, seed)
    return Comparison(difference.mean(0), low, high, sign_flip_p_value(difference, users, resamples, seed))


def mean_interval(values: np.ndarray, users: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile-bootstrap interval of the mean over slates: users are drawn with replacement.

    The resampled mean is a ratio, summed values over slate count, since users have different numbers of slates. With
    few users the percentiles are further out, see `level`. NaN where there is only one user: nothing can be said about
    others.
    """
    return ratio_interval(values, np.ones(len(values)), users, resamples, seed)


def ratio_interval(
    values: np.ndarray, weights: np.ndarray, users: np.ndarray, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The same of summed values over summed `weights` [n], of which no user's sum may be 0."""
    from scipy.stats import bootstrap

    sums, sizes = _per_user(values, users)[0], _per_user(weights, users)[0][0]
    if len(sizes) == 1:
        return np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)

    n = len(sizes)

    def mean(drawn: np.ndarray, axis: int) -> np.ndarray:
        """int [..., users] drawn -> means [m, ...]: how often each user was drawn, times sums."""
        rows = drawn.reshape(-1, n)
        cells = rows + n * np.arange(len(rows))[:, None]
        times = np.bincount(cells.ravel(), minlength=rows.size).reshape(rows.shape).astype(float)
        return ((sums @ times.T) / (times @ sizes)).reshape(-1, *drawn.shape[:-1])

    options = {"vectorized": True, "axis": -1, "n_resamples": resamples, "rng": np.random.default_rng(seed)}
    options |= {"confidence_level": level(n), "method": "percentile", "batch": max(1, CELLS // (n + len(sums)))}
    interval = bootstrap((np.arange(n),), mean, **options).confidence_interval
    return interval.low.reshape(values.shape[1:]), interval.high.reshape(values.shape[1:])


def level(users: int) -> float:
    """The percentiles' level that makes a 95 % interval: a plain percentile interval is too short by the t distribution
    and the unbiased variance ("expanded percentile", Hesterberg 2015, arXiv 1411.5279). Over FEW users it is .95.
    """
    from scipy.stats import norm, t

    if users > FEW:
        return LEVEL
    tail = (1 - LEVEL) / 2
    return 1 - 2 * norm.cdf(math.sqrt(users / (users - 1)) * t.ppf(tail, users - 1))


def sign_flip_p_value(difference: np.ndarray, users: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Two-sided paired permutation test of mean difference 0: swapping two systems for a user flips the user's sign.

    Exact where all 2^users flips are no more than `resamples`, else the smallest possible p is 2 / (resamples + 1).
    """
    sums, sizes = _per_user(difference, users)
    if len(sizes) == 1:  # both flips are equally extreme
        return np.ones(difference.shape[1:])

    observed = np.ones(len(sizes)) @ sums.T / sizes.sum()
    slack = 100 * np.finfo(float).eps * np.abs(observed)  # flips that are equally extreme but for rounding
    below, above, flips = np.zeros(len(sums)), np.zeros(len(sums)), 0
    for signs in draw_signs(len(sizes), resamples, max(1, CELLS // (len(sizes) + len(sums))), seed):
        means = signs @ sums.T / sizes.sum()
        below += (means <= observed + slack).sum(0)
        above += (means >= observed - slack).sum(0)
        flips += len(signs)
    observed = 0 if flips == 2 ** len(sizes) else 1  # what was observed is a flip too, of drawn ones one more
    return np.minimum(2 * (np.minimum(below, above) + observed) / (flips + observed), 1).reshape(difference.shape[1:])


def draw_signs(users: int, flips: int, batch: int, seed: int) -> Iterator[np.ndarray]:
    """1 or -1, float [batch or fewer, users], `flips` rows in all, or all 2^users where these are no more.

    The draws are those of `scipy.stats.permutation_test`, which takes ten times as long: it loops over users.
    """
    if users < 63 and 2**users <= flips:
        yield 1.0 - 2 * (np.arange(2**users)[:, None] >> np.arange(users) & 1)
        return
    rng, pairs = np.random.default_rng(seed), np.tile([1.0, -1.0], (min(batch, flips), users, 1))
    for start in range(0, flips, batch):
        yield rng.permuted(pairs, axis=-1)[: flips - start, :, 0]


def number(value: float) -> float | None:
    """A figure for JSON: six decimals, none of them of a negative zero; None where it is undefined."""
    return None if math.isnan(value) else round(float(value), 6) + 0.0


def _table(values: dict[str, Values], metrics: Sequence[str]) -> np.ndarray:
    """[n, systems, metrics]"""
    return np.stack([[by_metric[metric] for metric in metrics] for by_metric in values.values()]).transpose(2, 0, 1)


def _per_user(values: np.ndarray, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([m, units] sums of each unit's values, [units] numbers of slates); m = the trailing axes, flattened. A unit is a
    user, or a group of them.
    """
    units = _group(users)
    order = np.argsort(units, kind="stable")
    _, starts, sizes = np.unique(units[order], return_index=True, return_counts=True)
    flat = values.reshape(len(values), -1)[order]
    return np.add.reduceat(flat, starts, axis=0).T.copy(), sizes.astype(float)


def _group(users: np.ndarray) -> np.ndarray:
    """The number of each row's user, or where these are many of the user's group: int [n]."""
    known, unit = np.unique(users, return_inverse=True)
    return unit if len(known) <= MOST else np.random.default_rng(0).permutation(len(known))[unit] % MOST
