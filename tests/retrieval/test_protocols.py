from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.files.interactions import SPLITS
from gr2.retrieval.protocols import make_windows, next_windows, order_lists, rank_windows
from gr2.retrieval.queries import Queries
from gr2.stages import prepare, slates


def made(world, folder, **changed) -> pl.DataFrame:
    options = {
        "items": world.items,
        "interactions": world.interactions,
        "output_dir": str(folder),
        "pre_ranker": ["popularity"],
        "exclude_seen": False,
        "protocol": "later",
        "relevant": 2,
        "candidates": 12,
        "history": 50,
    } | changed
    slates.run(slates.Config(**options))
    return pl.read_parquet(folder / "slates.parquet")


@pytest.fixture(scope="module")
def later(world, tmp_path_factory) -> pl.DataFrame:
    return made(world, tmp_path_factory.mktemp("later"))


def own_events(world, user: str) -> pl.DataFrame:
    return pl.read_parquet(world.interactions).filter(pl.col("user_id") == user).sort("position")


def test_the_relevant_are_the_next_items_of_the_same_split_and_nothing_else(world, later):
    assert {"train", "test"} <= set(later["split"]) and len(later) > 20
    for row in later.iter_rows(named=True):
        at = int(row["slate_id"].removeprefix(row["user_id"] + "-"))
        own = own_events(world, row["user_id"])
        following = own.filter(pl.col("position") >= at)[:2]
        assert set(following["split"]) == {row["split"]}
        relevant = {item for item, label in zip(row["candidates"], row["labels"], strict=True) if label}
        assert relevant == set(following["item_id"]) and set(row["labels"]) == {0.0, 1.0}
        assert row["history"] == own.filter(pl.col("position") < at)["item_id"].to_list()[-50:]
        assert len(set(row["candidates"])) == 12


def test_windows_of_a_user_do_not_overlap(later):
    for (_, _), own in later.group_by("user_id", "split"):
        places = sorted(int(slate_id.rpartition("-")[2]) for slate_id in own["slate_id"])
        assert all(after - before >= 2 for before, after in pairwise(places))


def test_all_candidates_stand_in_the_pre_rankers_order(world, later):
    """So that what is there because it came next cannot be told by its place."""
    events = pl.read_parquet(world.interactions).filter(pl.col("split") == "pretrain")
    count = dict(events.group_by("item_id").len().iter_rows())
    last = 0
    for row in later.iter_rows(named=True):
        counts = [count[item] for item in row["candidates"]]
        assert counts == sorted(counts, reverse=True) == row["scores"]
        last += row["labels"][-1] > 0
    assert last > 0, "an item that the pre-ranker would not have listed stands at the end"


def test_shuffled_slates_hold_the_same_and_tell_nothing_by_order(world, later, tmp_path):
    frame = made(world, tmp_path / "a", shuffle=True)
    assert "scores" not in frame.columns
    moved, firsts = 0, []
    for row, shown in zip(frame.iter_rows(named=True), later.iter_rows(named=True), strict=True):
        assert dict(zip(row["candidates"], row["labels"], strict=True)) == dict(
            zip(shown["candidates"], shown["labels"], strict=True)
        )
        moved += row["candidates"] != shown["candidates"]
        firsts.append(row["labels"][0])
    assert moved > 0.9 * len(frame) and 0 < np.mean(firsts) < 0.5  # 2 of 12 are relevant
    assert made(world, tmp_path / "b", shuffle=True).equals(frame)
    assert not made(world, tmp_path / "c", shuffle=True, seed=1).equals(frame)


def test_impressions_are_stretches_of_rated_items(world, tmp_path):
    events = pl.read_parquet(world.interactions)
    rating = pl.Series("rating", np.random.default_rng(0).integers(1, 6, len(events)).astype(float))
    events.with_columns(rating).write_parquet(tmp_path / "interactions.parquet")
    given_ratings = {
        (user, item, at): value
        for user, item, at, value in events.with_columns(rating)
        .select("user_id", "item_id", "position", "rating")
        .iter_rows()
    }
    frame = made(
        world,
        tmp_path / "out",
        interactions=str(tmp_path / "interactions.parquet"),
        protocol="impressions",
        candidates=4,
    )
    assert len(frame) > 20
    for row in frame.iter_rows(named=True):
        at = int(row["slate_id"].rpartition("-")[2])
        own = own_events(world, row["user_id"]).filter((pl.col("position") >= at) & (pl.col("split") == row["split"]))[
            :4
        ]
        assert sorted(row["candidates"]) == sorted(own["item_id"]) and 2 <= len(own) <= 4
        liked = {
            item
            for item, place in own.select("item_id", "position").iter_rows()
            if given_ratings[row["user_id"], item, place] >= 4
        }
        assert {item for item, label in zip(row["candidates"], row["labels"], strict=True) if label} == liked
        assert 0 < len(liked) < len(own), "slates in which nothing is to be told apart are left out"


@given(st.integers(2, 12), st.integers(0, 6), st.randoms(use_true_random=False))
def test_a_window_without_a_score_is_left_out_and_others_are_the_best(n_items, extra, rng):
    """Against a plain reading of the rule, on random scores of which some are missing."""
    order = rng.sample(range(n_items), n_items)
    listed = order[: rng.randrange(1, n_items + 1)]
    wanted = rng.sample(range(n_items), min(2, n_items))
    queries = Queries(np.array([0, *wanted], np.int32), np.array([0]), np.array([1]))
    top = np.full((1, n_items), -1, np.int32)
    top[0, : len(listed)] = listed
    ranks = -np.arange(n_items, dtype=np.float32)[None]
    ((rows, scores),) = rank_windows(lambda _: (top, ranks), queries, [wanted], extra, n_items)
    others = [row for row in listed if row not in wanted][:extra]
    if set(wanted) <= set(listed) and len(others) == extra:
        assert rows.tolist() == [row for row in listed if row in wanted or row in others]
        assert scores.tolist() == [-float(listed.index(row)) for row in rows]
    else:
        assert len(rows) == len(scores) == 0


@pytest.mark.parametrize(("changes", "message"), [
    ({"protocol": "impressions"}, "column 'rating'"),
    ({"relevant": 11, "splits": ["valid"]},
     "no user of the splits valid has 11 events in one of them, all of different items"),
    ({"others": "matched", "candidates": 40},
     "--others matched: none of 160 lists of --relevant 2 new items has 38 others as popular as they are; lower"),
])  # fmt: skip
def test_wrong_input_is_named_and_nothing_is_written(world, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        made(world, tmp_path, **changes)
    assert not (tmp_path / "slates.parquet").exists()


def test_events_without_a_past_start_no_window(world):
    events = pl.DataFrame(
        {
            "user_id": ["a", "a", "b", "b", "b"],
            "position": [0, 1, 0, 1, 2],
            "row": [0, 1, 2, 3, 4],
            "split": ["test"] * 5,
            "label": [1.0] * 5,
        }
    )
    found = make_windows(events, ["test"], size=2, shortest=2)
    assert found["rows"].to_list() == [[3, 4]] and found["at"].to_list() == [3] and found["start"].to_list() == [2]


def test_train_windows_begin_at_every_so_manieth_position_and_stay_in_their_split():
    splits = ["pretrain"] * 2 + ["train"] * 5 + ["test"] * 5
    events = pl.concat(
        pl.DataFrame({"user_id": user, "position": range(12), "row": range(first, first + 12), "split": splits})
        for user, first in (("a", 0), ("b", 20))
    )
    for stride, starts in ((1, [2, 3, 4]), (2, [2, 4]), (3, [2])):
        found = next_windows(events, ["train", "test"], 3, stride)
        for number, user in enumerate(("a", "b")):
            own = found.filter(pl.col("user_id") == user)
            assert own["position"].to_list() == [*starts, 7]  # those of the test split do not overlap
            expected = [[at + 20 * number + ahead for ahead in range(3)] for at in own["position"]]
            assert own["rows"].to_list() == expected and own["labels"].to_list() == [[1.0] * 3] * len(own)
            assert own["at"].to_list() == [12 * number + at for at in own["position"]]
            assert own["end"].to_list() == [12 * number + 7] * len(starts) + [12 * number + 12]


def test_what_the_pre_ranker_has_no_score_for_comes_last_in_random_order():
    queries = Queries(np.zeros(40, np.int32), np.arange(0, 40, 2), np.arange(1, 41, 2))
    top, scores = np.full((20, 9), -1, np.int32), np.full((20, 9), -np.inf, np.float32)
    top[:, :4], scores[:, :4] = [5, 3, 1, 7], [4, 3, 2, 1]
    lists = [np.array([8, 1, 2, 5, 6]) for _ in range(19)] + [np.empty(0, np.int64)]
    found = list(order_lists(lambda _: (top, scores), queries, lists, 9, 0))
    ends = set()
    for rows, values in found[:-1]:
        assert rows[:2].tolist() == [5, 1] and values.tolist() == [4.0, 2.0, 0.0, 0.0, 0.0]
        ends.add(tuple(rows[2:].tolist()))
    assert len(ends) > 3 and all(set(end) == {2, 6, 8} for end in ends)
    assert len(found[-1][0]) == len(found[-1][1]) == 0


def test_matched_slates_hold_the_next_items_and_nothing_else_that_the_user_has(world, tmp_path):
    """In a world of 300 items: where there are 48, too few are as popular as a user's."""
    sizes = {"users": 150, "synthetic_items": 300, "events": 40}
    prepare.run(prepare.Config(source="synthetic", output_dir=str(tmp_path), **sizes))
    options = {"items": str(tmp_path / "items.parquet"), "interactions": str(tmp_path / "interactions.parquet")}
    options |= {"others": "matched", "exclude_seen": True, "candidates": 8}
    frame = made(world, tmp_path / "out", train_stride=1, **options)
    events = pl.read_parquet(tmp_path / "interactions.parquet").sort("position")
    users = {user: own for (user,), own in events.group_by("user_id", maintain_order=True)}
    for row in frame.iter_rows(named=True):
        at, own = int(row["slate_id"].rpartition("-")[2]), users[row["user_id"]]
        relevant = {item for item, label in zip(row["candidates"], row["labels"], strict=True) if label}
        assert relevant == set(own.filter(pl.col("position") >= at)["item_id"][:2])
        until = own.filter(pl.col("split").is_in(SPLITS[: SPLITS.index(row["split"]) + 1]))["item_id"]
        assert len(set(row["candidates"])) == 8 and set(row["candidates"]) & set(until) == relevant
        assert row["scores"] == sorted(row["scores"], reverse=True)
    count = dict(frame["split"].value_counts().iter_rows())
    assert count["train"] > 500 and count["test"] > 100
    fewer = made(world, tmp_path / "fewer", **options)
    assert (fewer["split"] == "train").sum() < 0.6 * count["train"]
    assert fewer.filter(pl.col("split") == "test").equals(frame.filter(pl.col("split") == "test"))


def test_windows_are_counted_apart_by_why_they_are_no_slates(world, tmp_path):
    """With what was seen left out, a window that holds an item of the past has no score for it."""
    events = pl.read_parquet(world.interactions).sort("user_id", "position")
    again = pl.when(pl.col("position") == 17).then(pl.col("item_id").shift()).otherwise("item_id").over("user_id")
    events.with_columns(again.alias("item_id")).write_parquet(tmp_path / "events.parquet")
    frame = made(
        world, tmp_path / "out", interactions=str(tmp_path / "events.parquet"), exclude_seen=True, splits=["train"]
    )
    counts = read_json(tmp_path / "out/slates_report.json")["splits"]["train"]
    events = pl.read_parquet(tmp_path / "events.parquet")
    expected = {"positions": 0, "missed": 0, "short": 0, "repeated": 0, "slates": 0}
    for (_,), own in events.group_by("user_id"):
        own = own.sort("position")
        at = int(own.filter(pl.col("split") == "train")["position"].min())
        size = own.filter(pl.col("split") == "train").height
        for first in range(at, at + size - 1, 2):
            window, past = own["item_id"].to_list()[first : first + 2], own["item_id"].to_list()[:first]
            kind = "repeated" if window[0] == window[1] else "short" if set(window) & set(past) else "slates"
            expected["positions"] += 1
            expected[kind] += 1
    assert counts == expected and len(frame) == counts["slates"]
    assert counts["short"] > 0 and counts["repeated"] > 0 and counts["slates"] > 0


@pytest.mark.parametrize(("ratings", "message"), [
    ([4.0, None], r"row \d+, column 'rating': expected a finite number, found None"),
    ([4.0, float("nan")], r"row \d+, column 'rating': expected a finite number"),
    (["good", "bad"], "column 'rating': expected numbers"),
])  # fmt: skip
def test_an_event_without_a_rating_is_not_taken_for_a_disliked_one(world, tmp_path, ratings, message):
    events = pl.read_parquet(world.interactions)
    events.with_columns(pl.Series("rating", ratings * (len(events) // 2))).write_parquet(tmp_path / "events.parquet")
    with pytest.raises(InputError, match=message):
        made(
            world, tmp_path / "out", interactions=str(tmp_path / "events.parquet"), protocol="impressions", candidates=4
        )
    assert not (tmp_path / "out").exists()
