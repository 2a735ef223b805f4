"""Other candidates that only the user's history tells from the relevant ones (`--others matched`).

Each slate gives copies of its relevant items, as many as it needs others, and takes as many that slates of other users
gave. So every item is among the others in proportion to how often it is relevant: which item it is tells nothing. What
is taken is as popular as what was given for it, and comes from slates of the same period while any copy of it is left:
within a slate, popularity and age tell nothing. Ours; nothing of the kind is published for lists.
"""

import numpy as np
import polars as pl

from gr2.files.interactions import SPLITS
from gr2.retrieval.positions import EventLog

STEPS = 3  # bins in each doubling of popularity: with two, the most popular items of a slate are too rarely relevant
PERIODS = 5  # stretches of time, with as many slates each
ANOTHER_PERIOD, NO_COPY = 1e-6, 1e-12  # weights of a copy of another period, and of none, against one of the same


def match_others(log: EventLog, windows: pl.DataFrame, extra: int, seed: int) -> list[np.ndarray]:
    """For each window `extra` different items, int64 rows, that its user has no event of up to the end of its split;
    empty where an item of the window is of the user's past, or too few others are as popular as its items.

    windows: of one size, with `rows`, the relevant items, all different; `split`; `start`, `at` and `end`, the rows of
    the user's first event, of the window's, and of the first after its split. Nothing later matters: a train slate that
    avoided what its user takes in the test split would give it away.
    """
    items, bins = log.events["row"].to_numpy(), popularity_bins(log.counts())
    times = log.events["timestamp"].to_numpy() if "timestamp" in log.events.columns else np.zeros(len(items))
    others = [np.empty(0, np.int64)] * len(windows)
    for (split,), own in windows.with_row_index().group_by("split", maintain_order=True):
        rng = np.random.default_rng([seed, SPLITS.index(split)])
        relevant, (start, at, end) = np.stack(own["rows"].to_numpy()), own.select("start", "at", "end").to_numpy().T
        copies = share_out(extra, relevant.shape, rng)
        known = [items[first:last] for first, last in zip(start, end, strict=True)]
        past = [items[first:last] for first, last in zip(start, at, strict=True)]
        kept = np.array([can_fill(*window, bins) for window in zip(relevant, copies, known, past, strict=True)])
        order = np.flatnonzero(kept)
        taken = take_copies(
            relevant[kept], copies[kept], [known[index] for index in order], bins, periods(times[at[kept]]), rng
        )
        for index, rows in zip(own["index"].to_numpy()[kept], taken, strict=True):
            others[index] = rows
    return others


def popularity_bins(counts: np.ndarray) -> np.ndarray:
    """Pretrain events of each item -> its bin, int64; items without any are a bin of their own."""
    return np.round(STEPS * np.log2(counts + 1)).astype(np.int64)


def share_out(extra: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """How many copies each relevant item gives, int64 of the shape [windows, relevant]: as equal as can be, `extra` in
    each row.
    """
    return rng.permuted(np.broadcast_to(extra // shape[1] + (np.arange(shape[1]) < extra % shape[1]), shape), axis=1)


def periods(times: np.ndarray) -> np.ndarray:
    """The period of each time, from 0; equal times are in the order in which they stand."""
    return np.argsort(np.argsort(times, kind="stable"), kind="stable") * PERIODS // max(1, len(times))


def can_fill(relevant: np.ndarray, copies: np.ndarray, known: np.ndarray, past: np.ndarray, bins: np.ndarray) -> bool:
    """Whether no relevant item is of the past, and enough items that are not known have their popularity."""
    free = np.bincount(bins) - np.bincount(bins[np.unique(known)], minlength=bins.max() + 1)
    needed = np.bincount(bins[relevant], copies, bins.max() + 1)
    return not np.isin(relevant, past).any() and bool((needed <= free).all())


def take_copies(
    relevant: np.ndarray,
    copies: np.ndarray,
    known: list[np.ndarray],
    bins: np.ndarray,
    period: np.ndarray,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """The others of each slate. relevant, copies: int64 [slates, relevant]; known: items that a slate must not have;
    bins: int64 [items]; period: int64 [slates].
    """
    left = np.zeros((PERIODS, len(bins)))  # copies given and not taken
    np.add.at(left, (period[:, None], relevant), copies)
    members = [np.flatnonzero(bins == number) for number in range(bins.max() + 1)]
    others = [np.empty(0, np.int64)] * len(relevant)
    for slate in rng.permutation(len(relevant)):
        free = np.ones(len(bins), bool)
        free[known[slate]] = False
        needed = np.bincount(bins[relevant[slate]], copies[slate]).astype(int)
        for number in np.flatnonzero(needed):
            items = members[number][free[members[number]]]
            weights = left[period[slate], items] + ANOTHER_PERIOD * left[:, items].sum(0) + NO_COPY
            taken = items[draw(weights, needed[number], rng)]
            giver = np.where(left[period[slate], taken] > 0, period[slate], left[:, taken].argmax(0))
            left[giver, taken] = np.maximum(left[giver, taken] - 1, 0)
            others[slate] = np.concatenate([others[slate], taken])
    return others


def draw(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of `count` different ones, drawn one after the other by weight (Efraimidis and Spirakis 2006)."""
    return np.argsort(np.log(rng.random(len(weights))) / weights)[-count:]
