"""Slates in which several candidates are relevant, for list-wise rerankers (`gr2 slates --protocol`).

later: a user's next `relevant` items and others, `candidates` in all; GloRank's 50 -> 6 (2604.25291) as far as it is
published. The others are `retrieved`, the pre-ranker's best, or `matched` (retrieval.matched). impressions: up to
`candidates` consecutive rated items of a user as if they had been shown together, those rated `liked` or more relevant,
the others explicit negatives (ours; a public stand-in for impression logs).

In all three, the input order is the pre-ranker's order over all candidates. With `retrieved` it gives the relevant
items away: they are candidates whatever the pre-ranker says, the others because it likes them, so its last ranks are
the best guess. So are the rarest items, even with `shuffle`, where neither order nor scores tell. No window of events
reaches into another split. Only train windows may overlap (`train_stride`).
"""

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.columns import refuse_rows, require_columns
from gr2.files.slates import SLATES, Slate
from gr2.retrieval.lists import rank_blocks
from gr2.retrieval.matching import match_others
from gr2.retrieval.positions import EventLog, add_past
from gr2.retrieval.queries import Queries, Ranker

Lists = Iterator[tuple[np.ndarray, np.ndarray]]  # of each slate the candidates' rows in the input order, and scores


def later_slates(
    log: EventLog,
    rank: Ranker,
    history: int,
    splits: list[str],
    shuffle: int | None,
    relevant: int,
    candidates: int,
    train_stride: int,
    matched: int | None,
) -> tuple[pl.DataFrame, dict]:
    """The content of slates.parquet, and counts by split. rank: makes lists of all items; history: the latest items
    that a slate keeps; shuffle: seed of a random order, None: the pre-ranker's; matched: seed of matched others, None:
    retrieved ones.
    """
    extra = candidates - relevant

    def fill(windows: pl.DataFrame, queries: Queries) -> Lists:
        if matched is None:
            return rank_windows(rank, queries, windows["rows"].to_list(), extra, len(log.item_ids))
        others = match_others(log, windows, extra, matched)
        if not any(map(len, others)):
            found = (
                f"--others matched: none of {len(others)} lists of --relevant {relevant} new items has {extra} others"
            )
            raise InputError(f"{found} as popular as they are; lower --candidates")
        pairs = zip(windows["rows"], others, strict=True)
        lists = [np.concatenate([relevant_rows, taken]) if len(taken) else taken for relevant_rows, taken in pairs]
        return order_lists(rank, queries, lists, len(log.item_ids), matched)

    windows = next_windows(log.events, splits, relevant, train_stride)
    return window_slates(log, windows, fill, history, splits, relevant, shuffle)


def impression_slates(
    log: EventLog, rank: Ranker, history: int, splits: list[str], shuffle: int | None, candidates: int, liked: float
) -> tuple[pl.DataFrame, dict]:
    """As `later_slates`. InputError for an event of the splits without a rating: it would pass as not liked."""
    require_columns(log.events, log.path, ("rating",))
    unrated = log.events["split"].is_in(splits) & log.events["rating"].is_null()
    refuse_rows(unrated, log.path, "rating", "a finite number", log.events["rating"])
    label = (pl.col("rating").cast(pl.Float64) >= liked).cast(pl.Float64)

    def fill(windows: pl.DataFrame, queries: Queries) -> Lists:
        return rank_windows(rank, queries, windows["rows"].to_list(), 0, len(log.item_ids))

    windows = make_windows(log.events.with_columns(label=label), splits, candidates, shortest=2)
    return window_slates(log, windows, fill, history, splits, 2, shuffle)


def next_windows(events: pl.DataFrame, splits: list[str], size: int, train_stride: int) -> pl.DataFrame:
    """As `make_windows`, all of `size` events with label 1, and one at every `train_stride`-th train or pretrain
    position; the others do not overlap. `end`: the row after the last of the user's in the split.
    """
    by = ("user_id", "split")
    following = pl.concat_list(pl.col("row").shift(-ahead).over(by) for ahead in range(size))
    stride = pl.when(pl.col("split").is_in(["pretrain", "train"])).then(train_stride).otherwise(size)
    start = pl.int_range(pl.len()).over(by) % stride == 0
    windows = add_past(events, splits).with_columns(rows=following, end=pl.col("at").max().over(by) + 1)
    windows = windows.filter(start & (pl.col("at") + size <= pl.col("end")))
    return windows.with_columns(labels=pl.lit([1.0] * size)).drop("row")


def make_windows(events: pl.DataFrame, splits: list[str], size: int, shortest: int) -> pl.DataFrame:
    """Non-overlapping stretches of `shortest` to `size` of a user's events in one split, after a past: the items'
    `rows`, their `labels`, the first's `at` and `position`, the past's `start`.
    """
    window = pl.int_range(pl.len()).over("user_id", "split") // size
    grouped = add_past(events, splits).group_by("user_id", "split", window.alias("window"), maintain_order=True)
    columns = pl.col("row").alias("rows"), pl.col("label").alias("labels"), pl.col("at", "start", "position").first()
    windows = grouped.agg(*columns)
    return windows.filter(pl.col("rows").list.len() >= shortest)


def window_slates(
    log: EventLog,
    windows: pl.DataFrame,
    fill: Callable[[pl.DataFrame, Queries], Lists],
    history: int,
    splits: list[str],
    shortest: int,
    shuffle: int | None,
) -> tuple[pl.DataFrame, dict]:
    """A slate of each window whose items are all different, with the candidates that `fill` returns, if any."""
    distinct = windows.filter(pl.col("rows").list.n_unique() == pl.col("rows").list.len())
    if distinct.is_empty():
        missing = f"no user of the splits {', '.join(splits)} has {shortest} events in one of them"
        raise InputError(f"{log.path}: {missing}, all of different items, and a past")
    queries = Queries(log.events["row"].to_numpy(), distinct["start"].to_numpy(), distinct["at"].to_numpy())
    lists = fill(distinct, queries)
    names, histories = log.item_ids.to_numpy(), queries.history(history)
    slates = []
    for window, past, (rows, scores) in zip(distinct.iter_rows(named=True), histories, lists, strict=True):
        if not len(rows):
            continue
        labels = dict(zip(window["rows"], window["labels"], strict=True))
        slate = Slate(
            slate_id=f"{window['user_id']}-{window['position']}",
            history=names[past[past >= 0]].tolist(),
            candidates=names[rows].tolist(),
            labels=[labels.get(row, 0.0) for row in rows.tolist()],
            scores=scores.tolist(),
            user_id=window["user_id"],
            split=window["split"],
        )
        slates.append(slate if shuffle is None else slate.shuffled(shuffle))
    mixed = [slate for slate in slates if any(slate.labels) and not all(slate.labels)]
    columns = [name for name in SLATES if shuffle is None or name != "scores"]
    frame = pl.DataFrame([{name: vars(slate)[name] for name in columns} for slate in mixed])
    return frame, {split: count_windows(split, windows, distinct, slates, mixed) for split in splits}


def count_windows(
    split: str, windows: pl.DataFrame, distinct: pl.DataFrame, full: list[Slate], mixed: list[Slate]
) -> dict[str, int]:
    """positions: all windows; repeated: those that hold an item twice; short: those without enough others, or with
    an item of the past; missed: those whose candidates all have the same label."""
    positions = (windows["split"] == split).sum()
    different = (distinct["split"] == split).sum()
    filled = sum(slate.split == split for slate in full)
    slates = sum(slate.split == split for slate in mixed)
    lost = {"missed": filled - slates, "short": different - filled, "repeated": positions - different}
    return {"positions": positions} | lost | {"slates": slates}


def rank_windows(rank: Ranker, queries: Queries, windows: list[list[int]], extra: int, n_items: int) -> Lists:
    """For each window its items and the `extra` best others in the pre-ranker's order: rows, scores. Empty where the
    pre-ranker has no score for one of its items, or too few others.
    """
    remaining = iter(windows)
    for tops, scores in rank_blocks(rank, queries, n_items):
        for top, values, window in zip(tops, scores, remaining, strict=False):
            inside = np.isin(top, window)
            kept = inside | ((top >= 0) & ~inside & ((~inside).cumsum() <= extra))
            whole = inside.sum() == len(window) and kept.sum() == len(window) + extra
            yield (top[kept], values[kept].astype(np.float64)) if whole else (top[:0], values[:0])


def order_lists(rank: Ranker, queries: Queries, lists: list[np.ndarray], n_items: int, seed: int) -> Lists:
    """Each list in the pre-ranker's order; what it has no score for comes last, in random order, with the score 0."""
    rng, remaining = np.random.default_rng(seed), iter(lists)
    for tops, scores in rank_blocks(rank, queries, n_items):
        for top, values, rows in zip(tops, scores, remaining, strict=False):
            listed = np.isin(top, rows)
            unknown = rng.permutation(np.setdiff1d(rows, top))
            yield np.r_[top[listed], unknown], np.r_[values[listed].astype(np.float64), np.zeros(len(unknown))]
