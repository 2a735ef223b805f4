import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.files.interactions import SPLITS
from gr2.retrieval.positions import add_rows, in_order, select_positions
from tests.retrieval.arrays import pasts

ITEMS = pl.Series([f"i{number}" for number in range(9, -1, -1)])  # row 0 is i9


def table(*users):
    """Events of users given as (name, [(item, split), ...]), oldest first."""
    rows = [
        {"user_id": user, "position": place, "item_id": item, "split": split}
        for user, events in users
        for place, (item, split) in enumerate(events)
    ]
    return pl.DataFrame(rows, schema={"user_id": str, "position": int, "item_id": str, "split": str})


@st.composite
def some_events(draw):
    names = draw(st.lists(st.sampled_from(["a", "b", "B", "ä", "10", "9"]), min_size=1, max_size=4, unique=True))
    users = []
    for name in names:
        items = draw(st.lists(st.sampled_from(ITEMS.to_list()), min_size=1, max_size=8))
        splits = sorted(
            draw(st.lists(st.sampled_from(SPLITS), min_size=len(items), max_size=len(items))), key=SPLITS.index
        )
        users.append((name, list(zip(items, splits, strict=True))))
    events = table(*users)
    return events[draw(st.permutations(range(len(events))))]


@given(some_events(), st.sets(st.sampled_from(SPLITS[1:]), min_size=1), st.none() | st.integers(1, 3))
def test_positions_are_all_events_of_the_splits_that_have_a_past(events, splits, most):
    expected = []
    for user in sorted(set(events["user_id"])):
        own = events.filter(pl.col("user_id") == user).sort("position").to_dicts()
        wanted = [event for event in own[1:] if event["split"] in splits]
        for event in wanted:
            later = sum(other["split"] == event["split"] and other["position"] > event["position"] for other in wanted)
            if most is None or later < most:
                row, past = ITEMS.to_list().index(event["item_id"]), [e["item_id"] for e in own[: event["position"]]]
                expected.append((user, event["position"], event["split"], row, past))
    positions = select_positions(add_rows(events, "file", ITEMS), sorted(splits), most)
    found = [
        (*row, [ITEMS[item] for item in past])
        for row, past in zip(
            positions.frame.select("user_id", "position", "split", "row").rows(), pasts(positions.queries), strict=True
        )
    ]
    assert found == expected


@given(some_events())
def test_events_with_rows_come_by_user_and_position(events):
    found = add_rows(events, "file", ITEMS)
    assert found.drop("row").equals(events.sort("user_id", "position"))
    assert found["item_id"].to_list() == [ITEMS[row] for row in found["row"]] and found["row"].dtype == pl.Int32
    assert in_order(found) and in_order(events) == events.equals(events.sort("user_id", "position"))


def test_first_events_are_no_positions_and_users_do_not_share_a_past():
    events = table(
        ("u", [("i1", "train"), ("i2", "test")]), ("v", [("i3", "test")]), ("w", [("i4", "pretrain"), ("i5", "valid")])
    )
    positions = select_positions(add_rows(events, "file", ITEMS), ["train", "valid", "test"], None)
    assert positions.frame.select("user_id", "position").rows() == [("u", 1), ("w", 1)]
    assert pasts(positions.queries) == [[8], [5]]


def test_no_events_are_no_positions():
    positions = select_positions(add_rows(table(), "file", ITEMS), ["test"], 1)
    assert len(positions.frame) == len(positions.queries) == 0


def test_an_unknown_split_is_named_with_its_row():
    events = table(("u", [("i1", "pretrain"), ("i2", "valid"), ("i3", "dev")]))
    with pytest.raises(InputError) as refusal:
        add_rows(events, "events.parquet", ITEMS)
    assert "events.parquet: row 2, column 'split': expected one of pretrain, train, valid, test, found 'dev'" in str(
        refusal.value
    )


def test_two_events_at_one_position_are_refused():
    events = table(("u", [("i1", "pretrain"), ("i2", "train")]), ("v", [("i3", "test")]))
    for repeated in (pl.concat([events, events[1:2]]), pl.concat([events[:2], events[1:]])):
        with pytest.raises(InputError, match=r"row \d, column 'position': expected one event per user and position"):
            add_rows(repeated, "events.parquet", ITEMS)


@pytest.mark.parametrize("column", ["split", "position"])
def test_events_that_were_not_prepared_are_refused(column):
    with pytest.raises(InputError, match=rf"events\.parquet: column '{column}' is missing"):
        add_rows(table(("u", [("i1", "test")])).drop(column), "events.parquet", ITEMS)


def test_the_items_are_those_of_the_items_file(world):
    events, item_ids = pl.read_parquet(world.interactions), pl.read_parquet(world.items)["item_id"]
    positions = select_positions(add_rows(events, world.interactions, item_ids), ["test"], None)
    own = events.filter(pl.col("user_id") == "user07").sort("timestamp")["item_id"].to_list()
    mine = np.flatnonzero(positions.frame["user_id"] == "user07")
    assert len(mine) == 4
    for number in mine.tolist():
        row = positions.frame.row(number, named=True)
        assert item_ids[row["row"]] == own[row["position"]]
        assert [item_ids[item] for item in pasts(positions.queries)[number]] == own[: row["position"]]
