import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.data.earlier_run import EarlierRun, add_earlier
from gr2.errors import InputError
from gr2.stages import prepare
from tests.helpers import refused

ITEMS = pl.Series("item_id", ["a", "b", "c"])


def events(rows, **more):
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    return frame.with_columns(**more)


def earlier(rows) -> EarlierRun:
    frame = events(rows)
    return EarlierRun("earlier", ITEMS, frame.with_columns(position=pl.int_range(pl.len()).over("user_id")))


def test_events_come_by_time_and_late_ones_take_their_place():
    before = earlier([("u", "a", 10), ("u", "b", 20), ("v", "a", 10)])
    merged = add_earlier(events([("u", "c", 15), ("u", "a", 30), ("w", "a", 1)]), "today", before, seed=0)
    own = merged.filter(pl.col("user_id") == "u")
    assert own["item_id"].to_list() == ["a", "c", "b", "a"] and own["position"].to_list() == [0, 1, 2, 3]
    assert merged["user_id"].unique().sort().to_list() == ["u", "v", "w"]


def test_of_one_second_the_earlier_events_come_first_in_their_order():
    before = earlier([("u", "b", 10), ("u", "a", 10)])
    merged = add_earlier(events([("u", "c", 10)]), "today", before, seed=0)
    assert merged["item_id"].to_list() == ["b", "a", "c"]


def test_ratings_stay_where_only_one_side_has_them():
    merged = add_earlier(events([("u", "c", 11)], rating=pl.lit(4.0)), "today", earlier([("u", "a", 10)]), seed=0)
    assert merged["rating"].to_list() == [None, 4.0]


rows = st.lists(st.tuples(st.sampled_from("uv"), st.sampled_from("abc"), st.integers(0, 5)), min_size=1, unique=True)


@settings(max_examples=25)
@given(rows, rows)
def test_a_log_that_is_delivered_twice_changes_nothing(old, new):
    once = add_earlier(events(new), "today", earlier(old), seed=0)
    assert add_earlier(events(new), "today", EarlierRun("earlier", ITEMS, once), seed=0).equals(once)
    assert {row[:3] for row in once.select("user_id", "item_id", "timestamp").rows()} == {*old, *new}


def test_without_times_nothing_can_be_added():
    with pytest.raises(InputError, match="today: expected a column 'timestamp'"):
        add_earlier(events([("u", "a", 1)]).drop("timestamp"), "today", earlier([("u", "a", 1)]), seed=0)


@pytest.fixture
def day(tmp_path):
    """Runs `gr2 prepare` on today's items and events, after the folder of an earlier day."""

    def run(name, items, rows, earlier=None, **options):
        folder = tmp_path / name
        folder.mkdir()
        pl.DataFrame({"item_id": list(items), "title": list(items)}).write_csv(folder / "items.csv")
        events(rows).write_csv(folder / "events.csv")
        options = {"min_user_events": 1, "min_item_events": 0, "split": "time", "most_gone": 0.5} | options
        paths = {"items": str(folder / "items.csv"), "interactions": str(folder / "events.csv")}
        earlier = str(tmp_path / earlier) if earlier else None
        prepare.run(prepare.Config(**paths, output_dir=str(folder), earlier=earlier, **options))
        return pl.read_parquet(folder / "interactions.parquet")

    run.folder = tmp_path
    return run


BASE = [(f"u{user}", "abcd"[(user + time) % 4], time) for user in range(4) for time in range(1, 11)]


def test_an_item_that_leaves_takes_its_events_along_and_brings_them_back(day):
    day("one", "abcd", BASE, test_from="1970-01-01T00:00:09")
    two = day("two", "abc", [("u0", "a", 20), ("u1", "d", 21)], "one", test_from="1970-01-01T00:00:20")
    assert "d" not in two["item_id"] and len(two) == 31
    assert len(pl.read_parquet(day.folder / "two/gone_interactions.parquet")) == 11
    three = day("three", "abcd", [("u0", "b", 30)], "two", test_from="1970-01-01T00:00:30")
    assert len(three) == 43 and not (day.folder / "three/gone_interactions.parquet").exists()
    own = three.filter(pl.col("user_id") == "u1")
    assert own["timestamp"].is_sorted() and own["position"].to_list() == list(range(11))


def test_only_events_of_the_day_are_test_and_the_shares_are_of_those_before(day):
    day("one", "abcd", BASE, test_from="1970-01-01T00:00:09")
    two = day("two", "abcd", [("u0", "a", 20), ("late", "b", 4)], "one", test_from="1970-01-01T00:00:20",
              train_share=0.25, valid_share=0.1)  # fmt: skip
    assert two.filter(pl.col("split") == "test").select("user_id", "timestamp").rows() == [("u0", 20)]
    sizes = dict(two["split"].value_counts().iter_rows())
    assert sizes == {"pretrain": 25, "train": 12, "valid": 4, "test": 1}  # events of one second stay together


def test_a_day_without_events_of_the_day_is_refused(day):
    day("one", "abcd", BASE, test_from="1970-01-01T00:00:09")
    with pytest.raises(InputError, match="--test_from: expected interactions from then on, found none"):
        day("two", "abcd", [("u0", "a", 15)], "one", test_from="1970-01-01T00:00:20")


def test_a_catalogue_that_was_cut_short_is_refused(day):
    day("one", "abcd", BASE, test_from="1970-01-01T00:00:09")
    with pytest.raises(InputError, match=r"3 of the 4 items of .*one are gone: more than --most_gone 0.5"):
        day("two", "a", [("u0", "a", 20)], "one", test_from="1970-01-01T00:00:20")


def test_an_event_of_an_item_that_no_day_knows_is_refused(day):
    day("one", "abcd", BASE, test_from="1970-01-01T00:00:09")
    with pytest.raises(InputError, match="line 3, column 'item_id': expected an item of the items file, found 'x'"):
        day("two", "abcd", [("u0", "a", 20), ("u0", "x", 21)], "one", test_from="1970-01-01T00:00:20")


def test_wrong_options_are_refused(tmp_path):
    words = ["--items", "i", "--interactions", "e", "--output_dir", tmp_path]
    expected = "expected a date, as 2026-01-31, and --split time"
    assert expected in refused("prepare", *words, "--split", "time", "--test_from", "yesterday")
    assert expected in refused("prepare", *words, "--test_from", "2026-01-31")
    source = ["--source", "synthetic", "--output_dir", tmp_path, "--earlier", "folder"]
    assert "expected --source files" in refused("prepare", *source)
