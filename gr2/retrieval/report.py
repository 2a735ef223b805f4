"""What `gr2 slates` says of its lists: how many make a slate, and whether that is more than by chance."""

import numpy as np
import polars as pl
from scipy.stats import binom

from gr2.errors import InputError
from gr2.retrieval.positions import EventLog, Positions
from gr2.retrieval.queries import Queries

LEFT_OUT = ("missed", "short", "repeated")
ALPHA = 0.05
FIRST = 2000  # lists that show whether a file's lists hold seen items


def add_recall(
    report: dict[str, dict],
    log: EventLog,
    positions: Positions,
    top: np.ndarray,
    exclude_seen: bool | None,
    train_horizon: int,
) -> dict[str, dict]:
    """The report with, by split, `recall`, the share of full lists that make a slate; `chance`, the same of lists drawn
    at random; and `p_chance`, the probability of as many slates or more by chance (a binomial test, one-sided).

    top: item rows [positions, K]. exclude_seen: whether lists may hold no item of the past; with None, the lists show
    it. Train slates with a horizon have several targets, and no such measure.
    """
    size, items = top.shape[1], len(log.item_ids)
    new = log.events.select(pl.struct("user_id", "row").is_first_distinct()).to_series().to_numpy()
    taken = np.concatenate([[0], new.cumsum()])  # different items of a user, one user after the other
    at, start = positions.queries.at, positions.queries.start
    if exclude_seen is None:
        exclude_seen = not holds_seen(top, positions.queries)
    chance = size / np.maximum(items - (taken[at] - taken[start]), size) * new[at] if exclude_seen else size / items
    chance = np.broadcast_to(chance, len(at))
    full, measured = (top >= 0).all(1), {}
    for name, counts in report.items():
        in_split = full & (positions.frame["split"] == name).to_numpy()
        if in_split.any() and not (name == "train" and train_horizon > 1):
            hits, lists, expected = counts["slates"], int(in_split.sum()), float(chance[in_split].mean())
            tested = {"recall": hits / lists, "chance": expected, "p_chance": binom.sf(hits - 1, lists, expected)}
            measured[name] = {key: round(float(value), 6) for key, value in tested.items()}
    return {name: counts | measured.get(name, {}) for name, counts in report.items()}


def holds_seen(top: np.ndarray, queries: Queries) -> bool:
    """Whether one of the first lists holds an item of its user's past."""
    query, item = next(queries.blocks(FIRST)).seen()
    return bool((top[query] == item[:, None]).any())


def describe_counts(name: str, counts: dict, size: int) -> str:
    """A line on a split."""
    left_out = ", ".join(f"{counts[kind]} {kind}" for kind in LEFT_OUT if kind in counts)
    line = f"{name}: {counts['slates']} slates of {counts['positions']} positions; {left_out}"
    if "chance" not in counts:
        return line
    line += f"; recall@{size} {counts['recall']:.3f}, by chance {counts['chance']:.3f}"
    return line if counts["p_chance"] < ALPHA else f"{line}: no better than chance (p = {counts['p_chance']:.2f})"


def refuse_none(report: dict, pre_ranker: str, size: int) -> None:
    """InputError where no position makes a slate, with the counts."""
    if any(counts["slates"] for counts in report.values()):
        return
    total = {name: sum(counts[name] for counts in report.values()) for name in ("positions", "missed", "short")}
    raise InputError(
        f"the pre-ranker {pre_ranker} made no slate of {total['positions']} positions: it missed "
        f"the target at {total['missed']} and had fewer than --candidates {size} items at {total['short']}"
        ". If it misses targets, train it longer or raise --candidates; if its lists are short, lower --candidates"
    )
