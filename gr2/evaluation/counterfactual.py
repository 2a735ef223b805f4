"""What a click log says of other orders than the one that was shown: IPS and SNIPS beside the plain figures.

A click is seen only where the user looked, so plain figures favour the order that was shown. A click at a position that
is looked at with propensity p stands for 1 / p of them (Joachims, Swaminathan and Schnabel 2017, "Unbiased Learning-to-
Rank with Biased Feedback"). With c the clicks of a request's items, r their ranks in a system's order,
and the worth of a rank, v(r) = 1 / log2(r + 1) for DCG@k and 1 for hits@k, both 0 beyond k:

    plain   sum of c v(r)      over the sum of c
    IPS     sum of (c / p) v(r)  over the number of requests
    SNIPS   sum of (c / p) v(r)  over the sum of c / p

IPS estimates DCG@k with P(click | looked at) as labels, a mean over requests, and is unbiased if the propensities are
right. SNIPS, its self-normalized form (Swaminathan and Joachims 2015, "The Self-Normalized Estimator for Counterfactual
Learning"), estimates the share of all relevance that is in the top k, discounted for DCG; it is consistent and varies
less. NDCG has no such estimate: it divides by each request's best DCG, which a few clicks do not tell. Propensities
below `least` count as `least`: a little bias for less variance (Strehl et al. 2010, "Learning from Logged Implicit
Exploration Data").
"""

import numpy as np
import polars as pl

from gr2.arrays import pad_lists
from gr2.evaluation.significance import Resampling, number, ratio_interval

FEWEST, SMALLEST = 100, 0.1  # effective clicks, and their share of the clicks, below which the estimates are doubtful


def estimate(
    slates: pl.DataFrame,
    unclicked: pl.DataFrame,
    labels: np.ndarray,
    orders: dict[str, list[np.ndarray]],
    k: int,
    least: float,
    resampling: Resampling,
) -> dict:
    """Each system's estimates with intervals, and `gain`, SNIPS less the input order's, which comes first.

    slates (with propensities), labels, orders: as in `systems.all_orders`; unclicked: the other requests of the split;
    resampling: its users are those of `slates`.
    """
    propensities = pad_lists(slates["propensities"], np.nan)
    weights = {"plain": np.nan_to_num(labels), "ips": np.nan_to_num(labels / np.maximum(propensities, least))}
    worth = {
        kind: np.stack([top_worth(w, several, k) for several in orders.values()], 1) for kind, w in weights.items()
    }
    users = pl.concat([slates["user_id"], unclicked["user_id"]]).rank("dense").to_numpy()
    requests, none = len(users), np.zeros((len(unclicked), *worth["ips"].shape[1:]))
    sums = {kind: weight.sum(1) for kind, weight in weights.items()}
    parts = {
        "plain": (worth["plain"], sums["plain"], resampling.users),
        "ips": (np.concatenate([worth["ips"], none]), np.ones(requests), users),
        "snips": (worth["ips"], sums["ips"], resampling.users),
        "gain": (worth["ips"] - worth["ips"][:, :1], sums["ips"], resampling.users),
    }
    found = {kind: measure(*part, resampling, k) for kind, part in parts.items()}
    clicked = weights["ips"][weights["ips"] > 0]
    effective = clicked.sum() ** 2 / (clicked**2).sum()
    clipped = int(((propensities < least) & (labels > 0)).sum())
    return {
        "k": k,
        "least_propensity": least,
        "requests": requests,
        "clicks": len(clicked),
        "clipped": clipped,
        "effective_clicks": number(effective),
        "warning": warn(effective, len(clicked)),
        "systems": {name: {kind: figures[at] for kind, figures in found.items()} for at, name in enumerate(orders)},
    }


def top_worth(weights: np.ndarray, orders: list[np.ndarray], k: int) -> np.ndarray:
    """The worth of the top k, summed by weight, the mean over a system's seeds: float [n, 2], of DCG and hits.

    weights: float [n, K], of the candidates in input order; orders: int [n, K] (see `metrics`).
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    seeds = []
    for order in orders:
        top = order[:, :k]
        gained = np.where(top < 0, 0.0, np.take_along_axis(weights, np.maximum(top, 0), axis=1))
        seeds.append(np.stack([gained @ discounts[: gained.shape[1]], gained.sum(1)], 1))
    return np.mean(seeds, axis=0)


def measure(
    values: np.ndarray, weights: np.ndarray, users: np.ndarray, resampling: Resampling, k: int
) -> list[dict[str, dict]]:
    """Of each system the ratio of summed values [n, systems, 2] to summed weights [n], with its interval by users."""
    low, high = ratio_interval(values, weights, users, resampling.resamples, resampling.seed)
    means = values.sum(0) / weights.sum()
    return [
        {
            f"{name}@{k}": {"value": number(means[at, m]), "interval": [number(low[at, m]), number(high[at, m])]}
            for m, name in enumerate(("dcg", "hits"))
        }
        for at in range(values.shape[1])
    ]


def warn(effective: float, clicks: int) -> str | None:
    """A sentence where the effective sample size (Kish 1965: (sum w)^2 / sum w^2) is small, w the clicks' weights."""
    if effective >= max(FEWEST, SMALLEST * clicks):
        return None
    bound = f"{FEWEST}" if effective < FEWEST else f"{SMALLEST:.0%} of the clicks".replace("%", " %")
    return (
        f"The effective sample size is {effective:.0f} of {clicks} clicks, below {bound}: IPS and SNIPS hang on a few "
        "clicks at positions that are rarely looked at, and their intervals may be too short."
    )
