"""k-core, the order of a user's events, which of them train what, and item popularity."""

from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import require_columns
from gr2.files.tables import read_interactions
from gr2.files.times import FINE


def k_core(interactions: pl.DataFrame, user_events: int, item_events: int) -> pl.DataFrame:
    """The largest subset in which every user has at least `user_events` and every item at least `item_events` events."""
    while True:
        kept = interactions.filter(
            (pl.len().over("user_id") >= user_events) & (pl.len().over("item_id") >= item_events),
        )
        if len(kept) == len(interactions):
            return kept
        interactions = kept


def in_order(interactions: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Events by user, oldest first, with `position` counted from 0 within the user.

    A given position decides, else the time in the finest resolution that there is. Events that share it come in random order
    under the seed. The order depends on the events alone, never on the order of the file: files often list ties by item id,
    which leaks the target.
    """
    order = next(name for name in ("position", FINE, "timestamp") if name in interactions.columns)
    tie = pl.struct("user_id", "item_id").hash(seed)
    ordered = interactions.with_columns(tie.alias("tie")).sort("user_id", order, "tie", "item_id", maintain_order=True)
    return ordered.drop("tie").with_columns(pl.int_range(pl.len()).over("user_id").alias("position"))


def with_splits(ordered: pl.DataFrame, train: float, valid: float, test: float) -> pl.DataFrame:
    """Adds `split`: per user, the oldest positions are `pretrain`, then `train`, `valid`, `test`.

    `train`, `valid` and `test` are shares of a user's events, rounded; every split, `pretrain` too, gets at least one
    event. `pretrain` events are the only ones that the mid-trained model and the
    pre-ranker see as targets; slates are made at the others. A user with fewer than four events is all `pretrain`.
    """
    events = pl.len().over("user_id").cast(pl.Int64)
    from_end = events - pl.col("position")

    def share(fraction: float) -> pl.Expr:
        return (events * fraction).round().cast(pl.Int64).clip(lower_bound=1)

    tests = pl.min_horizontal(share(test), events - 3)
    valids = pl.min_horizontal(tests + share(valid), events - 2)
    trains = pl.min_horizontal(valids + share(train), events - 1)
    split = (
        pl.when((events < 4) | (from_end > trains))
        .then(pl.lit("pretrain"))
        .when(from_end > valids)
        .then(pl.lit("train"))
        .when(from_end > tests)
        .then(pl.lit("valid"))
        .otherwise(pl.lit("test"))
    )
    return ordered.with_columns(split.alias("split"))


def leave_one_out(ordered: pl.DataFrame) -> pl.DataFrame:
    """Adds `split` as the literature on next-item retrieval has it: a user's last event is `test`, the one before `valid`, all
    others are `pretrain`. No position is left for training slates. A user with fewer than three events is all `pretrain`.
    """
    events = pl.len().over("user_id").cast(pl.Int64)
    from_end = pl.when(events < 3).then(3).otherwise(events - pl.col("position"))
    split = pl.when(from_end == 1).then(pl.lit("test")).when(from_end == 2).then(pl.lit("valid"))
    return ordered.with_columns(split.otherwise(pl.lit("pretrain")).alias("split"))


def by_time(ordered: pl.DataFrame, train: float, valid: float, test: float) -> pl.DataFrame:
    """Adds `split` with the same boundaries for all users: the latest share of all events is `test`, and so on back in time.

    Events of one moment are in one split, the later one; a share of 0 is a split without events. A user may lack any of the
    splits. InputError without timestamps, where a user's positions contradict them, and where a split is left empty.
    """
    time = next((name for name in (FINE, "timestamp") if name in ordered.columns), None)
    if time is None:
        raise InputError("--split time: expected interactions with a column 'timestamp', found positions alone")
    back = ordered.filter((pl.col(time) < pl.col(time).shift()).over("user_id"))
    if len(back):
        raise InputError(f"--split time: expected positions in the order of time; user '{back['user_id'][0]}', position "
                         f"{back['position'][0]} (from 0) is earlier than the event before it")  # fmt: skip
    times, split = ordered[time].sort(), pl.lit("pretrain")
    for name, share, latest in (
        ("train", train, train + valid + test),
        ("valid", valid, valid + test),
        ("test", test, test),
    ):
        if share:
            start = times[-max(1, round(len(times) * latest))]
            split = pl.when(pl.col(time) >= start).then(pl.lit(name)).otherwise(split)
    found = ordered.with_columns(split.alias("split"))
    for name, share in (("pretrain", 1), ("train", train), ("valid", valid), ("test", test)):
        if share and name not in found["split"]:
            raise InputError(f"--split time: expected events of more moments, found none for '{name}'; raise its share or use "
                             "--split user")  # fmt: skip
    return found


def later_share(interactions: pl.DataFrame, quantile: float = 0.0) -> float | None:
    """The share of pretrain events that are later than the first test event, or (quantile .5) than half of the test events.

    What is learned from them could not have been known then. None without timestamps, pretrain events or test events.
    """
    if "timestamp" not in interactions.columns:
        return None
    learned, tests = (interactions.filter(pl.col("split") == name)["timestamp"] for name in ("pretrain", "test"))
    if learned.is_empty() or tests.is_empty():
        return None
    return float((learned > tests.quantile(quantile, "lower")).mean())


def popularity(events: pl.DataFrame) -> dict[str, int]:
    """Pretrain events per item; an item that has none is absent."""
    counts = events.filter(pl.col("split") == "pretrain").group_by("item_id").len()
    return dict(counts.iter_rows())


def read_popularity(path: str | Path) -> dict[str, int]:
    """`popularity` of an interactions.parquet of `gr2 prepare`; InputError where it has no splits."""
    events = read_interactions(path)
    require_columns(events, path, ("split",))
    return popularity(events)
