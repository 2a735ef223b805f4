"""k-core, the order of a user's events, and their division into pretrain, train, valid and test."""

from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import require_columns
from gr2.files.interactions import read_interactions
from gr2.files.times import FINE


def k_core(interactions: pl.DataFrame, user_events: int, item_events: int) -> pl.DataFrame:
    """The largest subset in which every user has `user_events` events or more, and every item `item_events` or more."""
    enough = (pl.len().over("user_id") >= user_events) & (pl.len().over("item_id") >= item_events)
    while True:
        kept = interactions.filter(enough)
        if len(kept) == len(interactions):
            return kept
        interactions = kept


def order_events(interactions: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Events by user, oldest first, with `position` counted from 0 within the user.

    A given position decides, else the time in its finest resolution. Ties come in random order under the seed. The
    order depends on the events alone, never on the order of the file: files often list ties by item id, which leaks the
    target.
    """
    order = next(name for name in ("position", FINE, "timestamp") if name in interactions.columns)
    tie = pl.struct("user_id", "item_id").hash(seed)
    ordered = interactions.with_columns(tie.alias("tie")).sort("user_id", order, "tie", "item_id", maintain_order=True)
    return ordered.drop("tie").with_columns(pl.int_range(pl.len()).over("user_id").alias("position"))


def split_by_user(ordered: pl.DataFrame, train: float, valid: float, test: float) -> pl.DataFrame:
    """Adds `split`: per user, the oldest positions are `pretrain`, then `train`, `valid`, `test`.

    `train`, `valid` and `test` are shares of a user's events, rounded; every split, `pretrain` too, gets at least one
    event. Only `pretrain` events are targets of mid-training and pre-rankers; slates are made at the others. A user
    with fewer than four events is all `pretrain`.
    """
    events = pl.len().over("user_id").cast(pl.Int64)
    from_end = events - pl.col("position")

    def count(share: float) -> pl.Expr:
        return (events * share).round().cast(pl.Int64).clip(lower_bound=1)

    tests = pl.min_horizontal(count(test), events - 3)
    valids = pl.min_horizontal(tests + count(valid), events - 2)
    trains = pl.min_horizontal(valids + count(train), events - 1)
    split = pl.when((events < 4) | (from_end > trains)).then(pl.lit("pretrain"))
    split = split.when(from_end > valids).then(pl.lit("train")).when(from_end > tests).then(pl.lit("valid"))
    return ordered.with_columns(split.otherwise(pl.lit("test")).alias("split"))


def split_leave_one_out(ordered: pl.DataFrame) -> pl.DataFrame:
    """Adds `split` as in the literature on next-item retrieval: a user's last event is `test`, the one before `valid`,
    all others `pretrain`; no position is left for train slates. A user with fewer than three events is all `pretrain`.
    """
    events = pl.len().over("user_id").cast(pl.Int64)
    from_end = pl.when(events < 3).then(3).otherwise(events - pl.col("position"))
    split = pl.when(from_end == 1).then(pl.lit("test")).when(from_end == 2).then(pl.lit("valid"))
    return ordered.with_columns(split.otherwise(pl.lit("pretrain")).alias("split"))


def split_by_time(
    ordered: pl.DataFrame, train: float, valid: float, test: float, test_from: int | None = None
) -> pl.DataFrame:
    """Adds `split` with the same boundaries for all users: the latest share of all events is `test`, and so on back in
    time. With `test_from`, in seconds, `test` begins then; `train` and `valid` are shares of the events before it.

    Events of one moment are in one split, the later one; a share of 0 is a split without events. A user may lack any of
    the splits. InputError without timestamps, where a user's positions contradict them, and for an empty split.
    """
    time = next((name for name in (FINE, "timestamp") if name in ordered.columns), None)
    if time is None:
        raise InputError("--split time: expected interactions with a column 'timestamp', found positions alone")
    back = ordered.filter((pl.col(time) < pl.col(time).shift()).over("user_id"))
    if len(back):
        user, position = back["user_id"][0], back["position"][0]
        found = f"user '{user}', position {position} (from 0) is earlier than the event before it"
        raise InputError(f"--split time: expected positions in the order of time; {found}")
    times, split = ordered[time].sort(), pl.lit("pretrain")
    if test_from is not None:
        test = (times >= test_from * (10**9 if time == FINE else 1)).mean()
        train, valid = train * (1 - test), valid * (1 - test)
        if not test:
            raise InputError("--test_from: expected interactions from then on, found none; all are earlier")
    parts = (("train", train, train + valid + test), ("valid", valid, valid + test), ("test", test, test))
    for name, share, latest in parts:
        if share:
            start = times[-max(1, round(len(times) * latest))]
            split = pl.when(pl.col(time) >= start).then(pl.lit(name)).otherwise(split)
    divided = ordered.with_columns(split.alias("split"))
    for name, share in (("pretrain", 1), ("train", train), ("valid", valid), ("test", test)):
        if share and name not in divided["split"]:
            found = f"found none for '{name}'; raise its share or use --split user"
            raise InputError(f"--split time: expected events of more moments, {found}")
    return divided


def measure_later_share(interactions: pl.DataFrame, quantile: float = 0.0) -> float | None:
    """The share of pretrain events later than the first test event or, with quantile 0.5, than half of the test events.

    What is learned from them could not have been known then. None without timestamps, pretrain events or test events.
    """
    if "timestamp" not in interactions.columns:
        return None
    pretrain = interactions.filter(pl.col("split") == "pretrain")["timestamp"]
    test = interactions.filter(pl.col("split") == "test")["timestamp"]
    if pretrain.is_empty() or test.is_empty():
        return None
    return float((pretrain > test.quantile(quantile, "lower")).mean())


def popularity(events: pl.DataFrame) -> dict[str, int]:
    """Pretrain events per item; an item that has none is absent."""
    counts = events.filter(pl.col("split") == "pretrain").group_by("item_id").len()
    return dict(counts.iter_rows())


def read_popularity(path: str | Path) -> dict[str, int]:
    """`popularity` of an interactions.parquet of `gr2 prepare`; InputError where it has no splits."""
    events = read_interactions(path)
    require_columns(events, path, ("split",))
    return popularity(events)
