"""Other candidates that only the user's history tells from the relevant ones (`--others matched`).

Each slate gives copies of its relevant items, as many as it needs others, and takes as many that slates of other users
gave. So every item is among the others in proportion to how often it is relevant: which item it is tells nothing. What
is taken is as popular as what was given for it, and comes from slates of the same period while any copy of it is left:
within a slate, popularity and age tell nothing. Ours; nothing of the kind is published for lists.

The pre-ranker has no part in the draw. If it preferred some of the others, what one can learn from its ranks would be
more than what they say of the user.
"""

import numpy as np
import polars as pl

from gr2.files.interactions import SPLITS
from gr2.retrieval.positions import EventLog

STEPS = 3  # bins in each doubling of popularity: with two, the most popular items of a slate are too rarely relevant
PERIODS = 5  # stretches of time, with as many slates each
ANOTHER_PERIOD, NO_COPY = 1e-6, 1e-12  # weights of a copy of another period, and of none, against one of the same


def match_others(log: EventLog, windows: pl.DataFrame, extra: int, seed: int) -> list[np.ndarray]:
    """For each window `extra` different items, int64 rows, that its user has no event of up to the end of its split.
    None for a window with an item of the user's past, or with too few such items as popular as its own.

    windows: all of the same number of events, with `rows`, their items; `split`; `start`, `at` and `end`, the rows of
    the user's first event, of the window's first, and after the last of the split. Nothing later matters: a train slate
    that avoided what its user takes in the test split would give that away.
    """
    items, bins = log.events["row"].to_numpy(), popularity_bins(log.counts())
    new = log.events.select(pl.struct("user_id", "row").is_first_distinct()).to_series().to_numpy()
    times = log.events["timestamp"].to_numpy() if "timestamp" in log.events.columns else np.zeros(len(items))
    others = [np.empty(0, np.int64)] * len(windows)
    for (split,), of_split in windows.with_row_index().group_by("split", maintain_order=True):
        rng = np.random.default_rng([seed, SPLITS.index(split)])
        relevant = np.stack(of_split["rows"].to_numpy())
        start, at, end = of_split.select("start", "at", "end").to_numpy().T
        copies = share_out(extra, relevant.shape, rng)
        known = [np.unique(items[first:last]) for first, last in zip(start, end, strict=True)]
        enough = [can_fill(*slate, bins) for slate in zip(relevant, copies, known, strict=True)]
        kept = np.flatnonzero(new[at[:, None] + np.arange(relevant.shape[1])].all(1) & enough)
        known = [known[index] for index in kept]
        taken = take_copies(relevant[kept], copies[kept], known, bins, periods(times[at[kept]]), rng)
        for index, rows in zip(of_split["index"].to_numpy()[kept], taken, strict=True):
            others[index] = rows
    return others


def popularity_bins(counts: np.ndarray) -> np.ndarray:
    """Pretrain events of each item -> its bin, int64; items without any are a bin of their own."""
    return np.round(STEPS * np.log2(counts + 1)).astype(np.int64)


def share_out(extra: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """How many copies each relevant item gives, int64 [windows, relevant]: as equal as can be, `extra` in each row."""
    each = extra // shape[1] + (np.arange(shape[1]) < extra % shape[1])
    return rng.permuted(np.broadcast_to(each, shape), axis=1)


def periods(times: np.ndarray) -> np.ndarray:
    """The period of each time, from 0; equal times in the order in which they stand."""
    return times.argsort(kind="stable").argsort(kind="stable") * PERIODS // max(1, len(times))


def can_fill(relevant: np.ndarray, copies: np.ndarray, known: np.ndarray, bins: np.ndarray) -> bool:
    """Whether enough items that are not `known` are as popular as the relevant ones."""
    size = bins.max() + 1
    free = np.bincount(bins, minlength=size) - np.bincount(bins[known], minlength=size)
    return bool((np.bincount(bins[relevant], copies, size) <= free).all())


def take_copies(
    relevant: np.ndarray,
    copies: np.ndarray,
    known: list[np.ndarray],
    bins: np.ndarray,
    period: np.ndarray,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """The others of each slate. relevant, copies: int64 [slates, relevant]; known: the items that a slate's user has
    events of; bins: int64 [items]; period: int64 [slates].
    """
    left = np.zeros((PERIODS, len(bins)))  # copies that nobody has taken
    np.add.at(left, (period[:, None], relevant), copies)
    members = [np.flatnonzero(bins == number) for number in range(bins.max() + 1)]
    others = [np.empty(0, np.int64)] * len(relevant)
    for slate in rng.permutation(len(relevant)):
        here, free = period[slate], np.ones(len(bins), bool)
        free[known[slate]] = False
        needed = np.bincount(bins[relevant[slate]], copies[slate]).astype(np.int64)
        for number in np.flatnonzero(needed):
            items = members[number][free[members[number]]]
            weights = left[here, items] + ANOTHER_PERIOD * left[:, items].sum(0) + NO_COPY
            taken = items[draw(weights, needed[number], rng)]
            giver = np.where(left[here, taken] > 0, here, left[:, taken].argmax(0))
            left[giver, taken] = np.maximum(left[giver, taken] - 1, 0)
            others[slate] = np.append(others[slate], taken)
    return others


def draw(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of `count` different ones, drawn one after the other by weight (Efraimidis and Spirakis 2006)."""
    return np.argsort(np.log(rng.random(len(weights))) / weights)[-count:]
