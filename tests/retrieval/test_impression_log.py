"""A tiny log: users u and v, who are in the interactions file, and w, who is not."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.retrieval.impression_log import describe_log, measure_earlier_share, read_impression_slates
from gr2.retrieval.positions import EventLog, add_rows

IDS = pl.Series("item_id", ["a", "b", "c", "d"])
EVENTS = pl.DataFrame(
    {
        "user_id": ["u", "u", "u", "v"],
        "item_id": ["a", "b", "c", "d"],
        "timestamp": [10, 20, 30, 25],
        "position": [0, 1, 2, 0],
        "split": ["pretrain", "pretrain", "train", "pretrain"],
    }
)
LOG = EventLog(IDS, add_rows(EVENTS, "events", IDS), "items", "events")


def impressions(*rows):
    """(request, user, time, items, index of the click or None) -> a log."""
    return pl.DataFrame(
        [
            (request, user, item, place, float(at == clicked), time, 1 / place)
            for request, user, time, items, clicked in rows
            for at, item in enumerate(items)
            for place in [at + 1]
        ],
        ["request_id", "user_id", "item_id", "position", "click", "timestamp", "propensity"],
        orient="row",
    )


SHOWN = impressions(
    ("r3", "u", 30, "dab", 1), ("r1", "u", 21, "cd", None), ("r2", "w", 22, "ab", 0), ("r4", "v", 40, ["c", "x"], 0),
    ("r5", "v", 50, ["x", "a", "c"], 2), ("r0", "u", 10, "bc", 0),
)  # fmt: skip


def rows(frame):
    return {row["slate_id"]: row for row in frame.iter_rows(named=True)}


def test_a_history_is_what_came_before_the_request():
    frame, _ = read_impression_slates(LOG, SHOWN, history=2, valid=0.0, test=0.0)
    found = rows(frame)
    assert list(found) == ["r1", "r3", "r5"]  # by time
    assert found["r3"]["history"] == ["a", "b"], "the event at the request's own time is not its past"
    assert found["r1"]["history"] == ["a", "b"] and found["r5"]["history"] == ["d"]
    assert rows(read_impression_slates(LOG, SHOWN, 1, 0.0, 0.0)[0])["r3"]["history"] == ["b"]


def test_candidates_stand_as_they_were_shown_and_unknown_items_leave_a_gap():
    found = rows(read_impression_slates(LOG, SHOWN, 20, 0.0, 0.0)[0])
    assert (found["r3"]["candidates"], found["r3"]["labels"]) == (["d", "a", "b"], [0.0, 1.0, 0.0])
    gap = found["r5"]
    assert (gap["candidates"], gap["labels"], gap["positions"]) == (["a", "c"], [0.0, 1.0], [2, 3])
    assert gap["propensities"] == [1 / 2, 1 / 3] and gap["user_id"] == "v"


def test_what_is_left_out_is_counted_by_split():
    _, report = read_impression_slates(LOG, SHOWN, 20, valid=1 / 6, test=1 / 3)
    assert report["test"] == {"missed": 0, "positions": 2, "short": 1, "slates": 1, "cold": 0, "unclicked": 0}
    assert report["valid"] == {"missed": 0, "positions": 1, "short": 0, "slates": 1, "cold": 0, "unclicked": 0}
    assert report["train"] == {"missed": 0, "positions": 1, "short": 0, "slates": 1, "cold": 2, "unclicked": 1}
    assert describe_log(SHOWN, 3, LOG) == {
        "requests": 6, "impressions": 14, "clicks": 5, "clicks_without_position": 3, "unknown_items": 2,
        "clicks_on_unknown_items": 0, "gaps": 0,
    }  # fmt: skip
    assert describe_log(SHOWN.filter(pl.col("position") != 1), 0, LOG)["gaps"] == 6


def test_requests_of_one_moment_are_in_one_split():
    shown = impressions(*((f"r{n}", "u", time, "ab", 0) for n, time in enumerate([40, 41, 41, 41, 50])))
    split = {row: found["split"] for row, found in rows(read_impression_slates(LOG, shown, 20, 0.2, 0.2)[0]).items()}
    assert split == {"r0": "train", "r1": "valid", "r2": "valid", "r3": "valid", "r4": "test"}


def test_slates_that_features_know_the_future_of_are_measured():
    frame, _ = read_impression_slates(LOG, SHOWN, 20, 0.0, 0.0)
    assert measure_earlier_share(frame, LOG) == pytest.approx(1 / 3)  # r1; the last pretrain event is at 25


@given(st.permutations(range(len(SHOWN))))
def test_the_order_of_the_rows_changes_nothing(order):
    whole, shuffled = (read_impression_slates(LOG, shown, 20, 0.2, 0.2) for shown in (SHOWN, SHOWN[list(order)]))
    assert whole[0].equals(shuffled[0]) and whole[1] == shuffled[1]
