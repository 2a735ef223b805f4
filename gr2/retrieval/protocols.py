"""Slates in which several candidates are relevant, for list-wise rerankers (`gr2 slates --protocol`).

later: a user's next `relevant` items and the pre-ranker's best others, `candidates` in all; GloRank's 50 -> 6
(2604.25291) as far as it is published. impressions: up to `candidates` consecutive rated items of a user as if they had
been shown together, those rated `liked` or more relevant, the others explicit negatives (ours; a public stand-in for
impression logs).

In both the input order is the pre-ranker's over all candidates. In `later` it gives the relevant items away: they are
candidates whatever the pre-ranker says, the others because it likes them, so that its last ranks are the best guess.
With `shuffle` neither order nor scores tell. Windows of events do not overlap, and none reaches into another split.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.columns import refuse_rows, require_columns
from gr2.files.slates import SLATES, Slate
from gr2.retrieval.lists import rank_blocks
from gr2.retrieval.positions import EventLog, with_past
from gr2.retrieval.queries import Queries, Ranker


def later_slates(
    log: EventLog, rank: Ranker, history: int, splits: list[str], relevant: int, candidates: int, shuffle: int | None
) -> tuple[pl.DataFrame, dict]:
    """The content of slates.parquet, and counts by split. rank: makes lists of all items; history: the latest items
    that a slate keeps; shuffle: seed of a random order, None: the pre-ranker's.
    """
    windows = make_windows(log.events.with_columns(label=1.0), splits, relevant, shortest=relevant)
    return window_slates(log, rank, history, splits, windows, relevant, candidates - relevant, shuffle)


def impression_slates(
    log: EventLog, rank: Ranker, history: int, splits: list[str], candidates: int, liked: float, shuffle: int | None
) -> tuple[pl.DataFrame, dict]:
    """As `later_slates`. InputError for an event of the splits without a rating: it would pass as not liked."""
    require_columns(log.events, log.path, ("rating",))
    unrated = log.events["split"].is_in(splits) & log.events["rating"].is_null()
    refuse_rows(unrated, log.path, "rating", "a finite number", log.events["rating"])
    label = (pl.col("rating").cast(pl.Float64) >= liked).cast(pl.Float64)
    windows = make_windows(log.events.with_columns(label=label), splits, candidates, shortest=2)
    return window_slates(log, rank, history, splits, windows, 2, 0, shuffle)


def make_windows(events: pl.DataFrame, splits: list[str], size: int, shortest: int) -> pl.DataFrame:
    """Non-overlapping stretches of `shortest` to `size` of a user's events in one split, after a past: the items'
    `rows`, their `labels`, the first's `at` and `position`, the past's `start`.
    """
    window = pl.int_range(pl.len()).over("user_id", "split") // size
    grouped = with_past(events, splits).group_by("user_id", "split", window.alias("window"), maintain_order=True)
    columns = pl.col("row").alias("rows"), pl.col("label").alias("labels"), pl.col("at", "start", "position").first()
    windows = grouped.agg(*columns)
    return windows.filter(pl.col("rows").list.len() >= shortest)


def window_slates(
    log: EventLog,
    rank: Ranker,
    history: int,
    splits: list[str],
    windows: pl.DataFrame,
    shortest: int,
    extra: int,
    shuffle: int | None,
) -> tuple[pl.DataFrame, dict]:
    """A slate of each window whose items are all different: they and the pre-ranker's `extra` best others."""
    distinct = windows.filter(pl.col("rows").list.n_unique() == pl.col("rows").list.len())
    if distinct.is_empty():
        missing = f"no user of the splits {', '.join(splits)} has {shortest} events in one of them"
        raise InputError(f"{log.path}: {missing}, all of different items, and a past")
    queries = Queries(log.events["row"].to_numpy(), distinct["start"].to_numpy(), distinct["at"].to_numpy())
    names, histories = log.item_ids.to_numpy(), queries.history(history)
    lists = rank_windows(rank, queries, distinct["rows"].to_list(), extra, len(names))
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
    """positions: all windows; repeated: those that hold an item twice; short: those that the pre-ranker's scores do not
    fill; missed: those whose candidates all have the same label.
    """
    positions = (windows["split"] == split).sum()
    different = (distinct["split"] == split).sum()
    filled = sum(slate.split == split for slate in full)
    slates = sum(slate.split == split for slate in mixed)
    lost = {"missed": filled - slates, "short": different - filled, "repeated": positions - different}
    return {"positions": positions} | lost | {"slates": slates}


def rank_windows(
    rank: Ranker, queries: Queries, windows: list[list[int]], extra: int, n_items: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
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
