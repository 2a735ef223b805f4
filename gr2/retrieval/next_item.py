"""Slates that ask for a user's next item, and top_k.parquet: from lists at positions to tables."""

import numpy as np
import polars as pl

from gr2.files.slates import SLATE_SPLITS
from gr2.retrieval.positions import Positions
from gr2.retrieval.queries import Top


def next_item_slates(
    positions: Positions,
    lists: Top,
    sources: pl.Series | None,
    item_ids: pl.Series,
    wanted: np.ndarray,
    history: int,
    keep_missed: bool,
) -> tuple[pl.DataFrame, dict]:
    """The content of slates.parquet, and counts by split. lists: [positions, K]; sources: see `find_sources`, of these
    lists or longer ones; wanted: see `find_wanted`.
    """
    top, scores = lists
    labels = ((top >= 0) & (top[:, :, None] == wanted[:, None, :]).any(2)).astype(np.float64)
    full, hit = (top >= 0).all(1), labels.any(1)
    report = count_positions(positions.frame["split"], full, hit)
    kept = full & hit
    if keep_missed:
        kept |= full & (positions.frame["split"] == "train").to_numpy()
    frame = positions.frame.filter(kept).select(
        pl.format("{}-{}", "user_id", "position").alias("slate_id"),
        "user_id",
        id_lists(positions.queries.only(kept).history(history), item_ids).alias("history"),
        id_lists(top[kept], item_ids).alias("candidates"),
        pl.Series("labels", labels[kept]).arr.to_list(),
        pl.Series("scores", scores[kept].astype(np.float64)).arr.to_list(),
        "split",
    )
    if sources is not None:
        frame = frame.with_columns(sources.filter(pl.Series(kept)).list.head(top.shape[1]).alias("sources"))
    return frame, report


def find_wanted(events: pl.DataFrame, positions: pl.DataFrame, horizon: int) -> np.ndarray:
    """Item rows [positions, horizon]: the target and, at train positions, the next train events' items; else -1."""
    after = events.filter(pl.col("split") == "train").select(
        "user_id",
        "position",
        *(pl.col("row").shift(-step).over("user_id").alias(str(step)) for step in range(1, horizon)),
    )
    keys = positions.select("user_id", "position", "row")
    rows = keys.join(after, on=["user_id", "position"], how="left", maintain_order="left")
    return rows.drop("user_id", "position").fill_null(-1).to_numpy()


def count_positions(split: pl.Series, full: np.ndarray, hit: np.ndarray) -> dict[str, dict[str, int]]:
    """Counts by split; full, hit: bool [positions], whether the list has K items, and one that is relevant."""
    report = {}
    for name in SLATE_SPLITS:
        mask = (split == name).to_numpy()
        positions, short, missed = int(mask.sum()), int((mask & ~full).sum()), int((mask & full & ~hit).sum())
        report[name] = {"positions": positions, "missed": missed, "short": short, "slates": positions - missed - short}
    return report


def top_k_table(positions: pl.DataFrame, lists: Top, sources: pl.Series | None, item_ids: pl.Series) -> pl.DataFrame:
    """The content of top_k.parquet, which `--pre_ranker file` reads too; sources as in `next_item_slates`."""
    top, scores = lists
    values = pl.Series("scores", np.where(top >= 0, scores, np.nan)).arr.to_list()
    known = values.list.eval(pl.element().filter(pl.element().is_not_nan())).cast(pl.List(pl.Float64))
    table = positions.select("user_id", "position", id_lists(top, item_ids).alias("candidates"), known)
    return table if sources is None else table.with_columns(sources.list.head(top.shape[1]).alias("sources"))


def id_lists(rows: np.ndarray, item_ids: pl.Series) -> pl.Series:
    """Item rows [n, K] -> lists of item ids, without the -1s."""
    flat = pl.Series(rows.ravel(), dtype=pl.Int32)
    names = item_ids.gather(flat.set(flat < 0, None))
    return names.reshape(rows.shape).arr.to_list().list.drop_nulls()
