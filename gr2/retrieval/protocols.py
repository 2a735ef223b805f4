"""Slates in which several candidates are relevant, for list-wise rerankers (`gr2 slates --protocol`).

later: a user's next `relevant` items and the pre-ranker's best others, `candidates` in all; GloRank's 50 -> 6 (2604.25291)
as far as it is published. impressions: up to `candidates` consecutive rated items of a user as if they had been shown
together, those rated `liked` or more relevant, the others explicit negatives (ours; a public stand-in for impression logs).

In both the input order is the pre-ranker's over all candidates. In `later` it gives the relevant items away: they are there
whatever the pre-ranker says, the others because it likes them, so that its last places are the best guess. With `shuffle`
neither order nor scores are left to tell. Windows of events do not overlap, and none reaches into another split.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from tqdm import tqdm

from gr2.errors import InputError
from gr2.files.columns import refuse_rows, require_columns
from gr2.files.slates import Slate
from gr2.retrieval.lists import CELLS, own_ranker
from gr2.retrieval.queries import Queries, Ranker
from gr2.stages.slates_options import Config


def protocol_slates(config: Config, events: pl.DataFrame, item_ids: pl.Series) -> tuple[pl.DataFrame, dict]:
    """The content of slates.parquet, and counts by split. events: from `numbered`."""
    if config.protocol == "impressions":
        require_ratings(config, events)
    every = windowed(config, events)
    windows = every.filter(pl.col("rows").list.n_unique() == pl.col("rows").list.len())
    if windows.is_empty():
        size = config.relevant if config.protocol == "later" else 2
        raise InputError(f"{config.interactions}: no user of the splits {', '.join(config.splits)} has {size} events in one of "
                         "them, all of different items, and a past")  # fmt: skip
    queries = Queries(events["row"].to_numpy(), windows["start"].to_numpy(), windows["at"].to_numpy())
    rank = own_ranker(config, events, item_ids, len(item_ids))
    extra = config.candidates - config.relevant if config.protocol == "later" else 0
    chosen = list(filled(rank, queries, windows, extra, len(item_ids)))
    names = item_ids.to_numpy()
    rows = [
        {
            "slate_id": f"{window['user_id']}-{window['position']}",
            "user_id": window["user_id"],
            "history": names[past[past >= 0]].tolist(),
            "candidates": names[candidates].tolist(),
            "labels": [window["labels"].get(row, 0.0) for row in candidates.tolist()],
            "scores": scores.tolist(),
            "split": window["split"],
        }
        for window, past, (candidates, scores) in zip(
            windows.with_columns(pl.Series("labels", label_maps(config, windows), dtype=pl.Object)).iter_rows(named=True),
            queries.history(config.history), chosen, strict=True)
        if len(candidates)
    ]  # fmt: skip
    if config.shuffle:
        rows = [
            row | {name: vars(shuffled)[name] for name in ("candidates", "labels")}
            for row in rows
            for shuffled in [Slate(**row).shuffled(config.seed)]
        ]
    frame = pl.DataFrame([row for row in rows if any(row["labels"]) and not all(row["labels"])])
    frame = frame.drop("scores", strict=False) if config.shuffle else frame
    return frame, counted(config.splits, every["split"], windows["split"], [row["split"] for row in rows], frame)


def counted(splits: list[str], every: pl.Series, windows: pl.Series, full: list[str], frame: pl.DataFrame) -> dict:
    """Counts by split. positions: all windows; repeated: those that hold an item twice; short: those that the
    pre-ranker's scores do not fill; missed: those in which nothing is to be told apart.
    """
    report = {}
    for split in splits:
        positions, distinct, filled = int((every == split).sum()), int((windows == split).sum()), full.count(split)
        slates = int((frame["split"] == split).sum()) if len(frame) else 0
        report[split] = {"positions": positions, "missed": filled - slates, "short": distinct - filled,
                         "repeated": positions - distinct, "slates": slates}  # fmt: skip
    return report


def require_ratings(config: Config, events: pl.DataFrame) -> None:
    """InputError unless every event of the asked splits has a rating: without one it would pass as not liked."""
    require_columns(events, config.interactions, ("rating",))
    asked = events["split"].is_in(config.splits)
    refuse_rows(asked & events["rating"].is_null(), config.interactions, "rating", "a finite number", events["rating"])


def windowed(config: Config, events: pl.DataFrame) -> pl.DataFrame:
    """Non-overlapping stretches of a user's events in one split: `rows`, `ratings`, the first's `at`, `position`; `start`."""
    size = config.relevant if config.protocol == "later" else config.candidates
    shortest = size if config.protocol == "later" else 2
    rating = pl.col("rating").cast(pl.Float64) if config.protocol == "impressions" else pl.lit(None, pl.Float64)
    placed = events.with_row_index("at").with_columns(
        pl.col("at").cast(pl.Int64), pl.col("at").min().over("user_id").cast(pl.Int64).alias("start"), rating.alias("rating")
    )  # fmt: skip
    placed = placed.filter(pl.col("split").is_in(config.splits) & (pl.col("at") > pl.col("start")))
    window = pl.int_range(pl.len()).over("user_id", "split") // size
    grouped = placed.group_by("user_id", "split", window.alias("window"), maintain_order=True).agg(
        pl.col("row").alias("rows"), pl.col("rating").alias("ratings"), pl.col("at", "start", "position").first()
    )
    return grouped.filter(pl.col("rows").list.len() >= shortest)


def label_maps(config: Config, windows: pl.DataFrame) -> list[dict[int, float]]:
    """For each window the label of its items' rows; items from the pre-ranker are not in it."""
    if config.protocol == "later":
        return [dict.fromkeys(rows, 1.0) for rows in windows["rows"].to_list()]
    return [
        {row: float(rating >= config.liked) for row, rating in zip(rows, ratings, strict=True)}
        for rows, ratings in zip(windows["rows"].to_list(), windows["ratings"].to_list(), strict=True)
    ]


def filled(
    rank: Ranker, queries: Queries, windows: pl.DataFrame, extra: int, n_items: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each window its items and the `extra` best others in the pre-ranker's order: rows, scores. Empty where the pre-ranker
    has no score for one of its items, or too few others.
    """
    wanted, size = windows["rows"].to_list(), int(np.clip(CELLS // n_items, 64, 4096))
    done = 0
    for block in tqdm(queries.blocks(size), "pre-ranking", -(-len(queries) // size), unit="block", disable=None):
        for top, scores in zip(*rank(block), strict=True):
            own = np.isin(top, wanted[done])
            kept = own | ((top >= 0) & ~own & ((~own).cumsum() <= extra))
            whole = own.sum() == len(wanted[done]) and kept.sum() == len(wanted[done]) + extra
            yield (top[kept], scores[kept].astype(np.float64)) if whole else (top[:0], scores[:0])
            done += 1
