import itertools
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.data.splits import (
    k_core,
    measure_later_share,
    order_events,
    popularity,
    split_by_time,
    split_by_user,
    split_leave_one_out,
)
from gr2.errors import InputError

pairs = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=60)
small = st.integers(1, 4)


def frame(rows):
    return pl.DataFrame(
        {"user_id": [f"u{user}" for user, _ in rows], "item_id": [f"i{item}" for _, item in rows]},
        schema={"user_id": pl.String, "item_id": pl.String},
    )


def core_by_hand(rows, user_events, item_events):
    """Removes one user or item at a time; whatever the order, what is left is the largest subset."""
    rows = list(rows)
    while True:
        users, items = Counter(user for user, _ in rows), Counter(item for _, item in rows)
        few = [("user", user) for user, n in users.items() if n < user_events]
        few += [("item", item) for item, n in items.items() if n < item_events]
        if not few:
            return rows
        kind, name = few[0]
        rows = [row for row in rows if row[kind == "item"] != name]


@given(pairs, small, small)
def test_k_core_is_the_largest_subset_with_enough_events(rows, user_events, item_events):
    kept = k_core(frame(rows), user_events, item_events)
    assert all(n >= user_events for n in Counter(kept["user_id"]).values())
    assert all(n >= item_events for n in Counter(kept["item_id"]).values())
    expected = frame(core_by_hand(rows, user_events, item_events))
    assert kept.equals(expected)  # the same events, and still in the file's order


timed = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 3)), max_size=40, unique=True
)  # many share a timestamp


@given(timed, st.randoms(use_true_random=False), st.sampled_from(["timestamp", "position"]), st.integers(0, 3))
def test_order_does_not_depend_on_the_order_of_the_file(rows, rng, column, seed):
    schema = {"user_id": pl.Int64, "item_id": pl.Int64, column: pl.Int64}
    events = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("user_id", "item_id").cast(pl.String))
    ordered = order_events(events, seed)
    shuffled = list(range(len(events)))
    rng.shuffle(shuffled)
    assert order_events(events[shuffled], seed).equals(ordered)
    for (_,), events_of_user in ordered.group_by("user_id", maintain_order=True):
        assert events_of_user["position"].to_list() == list(range(len(events_of_user)))
        if column == "timestamp":
            assert events_of_user["timestamp"].is_sorted()
    assert sorted(ordered.select("user_id", "item_id").rows()) == sorted(events.select("user_id", "item_id").rows())


def test_a_given_position_is_followed_and_counted_from_0():
    events = pl.DataFrame(
        {"user_id": ["u"] * 3, "item_id": ["a", "b", "c"], "position": [70, 5, 9], "timestamp": [1, 2, 3]}
    )
    ordered = order_events(events, 0)
    assert ordered.select("item_id", "position").rows() == [("b", 0), ("c", 1), ("a", 2)]


def tied_events(users=200, items=10):
    rows = [(f"user{user:03d}", f"item{item:02d}", 7) for user in range(users) for item in range(items)]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")


def test_ties_come_in_random_order():
    """A file lists ties by item id; the order that stages see must tell nothing about the id."""
    ordered = order_events(tied_events(), seed=0)
    ranks = ordered.with_columns(pl.col("item_id").str.slice(4).cast(pl.Int64).alias("number"))
    correlation = np.corrcoef(ranks["number"], ranks["position"])[0, 1]
    assert abs(correlation) < 0.1  # 2,000 events: a standard deviation is 0.022
    last = ordered.group_by("user_id").agg(pl.col("item_id").last())["item_id"].value_counts()["count"]
    assert len(last) == 10 and last.max() < 45  # of 200 users, 20 expected for each item
    orders = ordered.group_by("user_id").agg("item_id")["item_id"]
    assert len({tuple(order) for order in orders.to_list()}) == 200  # users do not share one order


def test_the_seed_decides_ties_and_nothing_else():
    events = tied_events(users=5)
    assert order_events(events, 0).equals(order_events(events, 0))
    assert not order_events(events, 0).equals(order_events(events, 1))
    without_ties = events.with_columns(pl.int_range(pl.len()).alias("timestamp"))
    assert order_events(without_ties, 0).equals(order_events(without_ties, 1))


def ordered_users(lengths):
    rows = [(f"u{user}", f"i{at}", at) for user, length in enumerate(lengths) for at in range(length)]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "position": pl.Int64}, orient="row")


share = st.floats(0, 0.33)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), share, share, share)
def test_every_user_goes_through_pretrain_train_valid_test(lengths, train, valid, test):
    split = split_by_user(ordered_users(lengths), train, valid, test)
    for user, length in enumerate(lengths):
        events_of_user = split.filter(pl.col("user_id") == f"u{user}")["split"].to_list()
        if length < 4:
            assert events_of_user == ["pretrain"] * length
            continue
        counts = Counter(events_of_user)
        assert events_of_user == [name for name in ("pretrain", "train", "valid", "test") for _ in range(counts[name])]
        assert min(counts[name] for name in ("pretrain", "train", "valid", "test")) >= 1


@pytest.mark.parametrize("shares", [(0, 0, 0.9), (0, 0.9, 0), (0.9, 0, 0), (0.04, 0.45, 0.5), (0.33, 0.33, 0.33)])
def test_large_shares_leave_an_event_for_every_split(shares):
    split = split_by_user(ordered_users(range(4, 30)), *shares)
    assert split.group_by("user_id").agg(pl.col("split").n_unique())["split"].unique().to_list() == [4]


def test_shares_zero_are_leave_one_out():
    split = split_by_user(ordered_users([4, 10]), 0, 0, 0)["split"].to_list()
    assert split == ["pretrain", "train", "valid", "test"] + ["pretrain"] * 7 + ["train", "valid", "test"]


def test_shares_by_hand():
    split = split_by_user(ordered_users([20]), 0.2, 0.05, 0.15)["split"].to_list()
    assert split == ["pretrain"] * 12 + ["train"] * 4 + ["valid"] + ["test"] * 3


NAMES = ("pretrain", "train", "valid", "test")
moments = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=1, max_size=60)  # user, time


def ordered_in_time(rows):
    schema = {"user_id": pl.Int64, "timestamp": pl.Int64}
    events = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.col("user_id").cast(pl.String), pl.int_range(pl.len()).cast(pl.String).alias("item_id")
    )
    return order_events(events, 0)


@given(moments, st.floats(0, 0.3), st.floats(0, 0.3), st.floats(0, 0.3))
def test_by_time_every_event_of_a_split_is_earlier_than_those_of_the_next(rows, train, valid, test):
    ordered = ordered_in_time(rows)
    try:
        split = split_by_time(ordered, train, valid, test)
    except InputError as error:
        assert "found none for" in str(error)
        return
    assert split.drop("split").equals(ordered)
    times_of_split = [split.filter(pl.col("split") == name)["timestamp"] for name in NAMES]
    present = [times for times in times_of_split if len(times)]
    assert all(before.max() < after.min() for before, after in itertools.pairwise(present))
    for times, share in zip(times_of_split, (1, train, valid, test), strict=True):
        assert (len(times) > 0) == (share > 0)
    assert measure_later_share(split) in (0, None)


def test_shares_by_time_are_of_all_events():
    """Three users: one early, one late, one all along."""
    rows = [(0, at) for at in range(40)] + [(1, 60 + at) for at in range(40)] + [(2, 5 * at) for at in range(20)]
    split = split_by_time(ordered_in_time(rows), 0.2, 0.05, 0.15)
    assert [(split["split"] == name).sum() for name in NAMES] == [60, 20, 5, 15]
    assert set(split.filter(pl.col("user_id") == "0")["split"]) == {"pretrain"}
    assert set(split.filter(pl.col("user_id") == "1")["split"]) == {"pretrain", "train", "valid", "test"}
    assert set(split_by_time(ordered_in_time(rows), 0, 0, 0.15)["split"]) == {"pretrain", "test"}


def test_events_of_one_moment_are_in_one_split():
    rows = [(0, 1)] * 50 + [(0, 2)] * 50
    split = split_by_time(ordered_in_time(rows), 0, 0, 0.1)
    assert [(split["split"] == name).sum() for name in NAMES] == [50, 0, 0, 50]
    with pytest.raises(InputError, match="expected events of more moments, found none for 'train'"):
        split_by_time(ordered_in_time(rows), 0.2, 0.05, 0.15)
    with pytest.raises(InputError, match="found none for 'pretrain'"):
        split_by_time(ordered_in_time(rows[:50]), 0, 0, 0.15)


def test_a_split_by_time_needs_times_that_agree_with_the_positions():
    rows = pl.DataFrame({"user_id": ["u"] * 3, "item_id": ["a", "b", "c"], "position": [0, 1, 2]})
    with pytest.raises(InputError, match="--split time: expected interactions with a column 'timestamp'"):
        split_by_time(rows, 0.2, 0.2, 0.2)
    with pytest.raises(InputError, match=r"user 'u', position 2 \(from 0\) is earlier than the event before it"):
        split_by_time(rows.with_columns(pl.Series("timestamp", [1, 5, 3])), 0.2, 0.2, 0.2)


def test_the_share_of_pretrain_events_later_than_the_tests():
    events = pl.DataFrame({"timestamp": [1, 2, 3, 4, 5, 6, 3, 5, 9], "split": ["pretrain"] * 6 + ["test"] * 3})
    assert measure_later_share(events) == 0.5  # 4, 5 and 6 are later than 3
    assert measure_later_share(events, 0.5) == pytest.approx(1 / 6)  # than 5: 6
    assert measure_later_share(events, 1.0) == 0
    assert measure_later_share(events.drop("timestamp")) is None
    assert measure_later_share(events.head(6)) is None and measure_later_share(events.tail(3)) is None


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_leave_one_out_keeps_the_last_two_events_of_each_user(lengths, rng):
    ordered = ordered_users(lengths)
    rows = list(range(len(ordered)))
    rng.shuffle(rows)  # positions decide, not the order of the rows
    split = split_leave_one_out(ordered[rows])
    assert split.drop("split").equals(ordered[rows])
    for user, length in enumerate(lengths):
        events_of_user = split.filter(pl.col("user_id") == f"u{user}").sort("position")["split"].to_list()
        assert events_of_user == (
            ["pretrain"] * length if length < 3 else ["pretrain"] * (length - 2) + ["valid", "test"]
        )


def test_popularity_counts_pretrain_events_only():
    events = pl.DataFrame({"item_id": ["a", "a", "b", "c"], "split": ["pretrain", "pretrain", "pretrain", "test"]})
    assert popularity(events) == {"a": 2, "b": 1}
