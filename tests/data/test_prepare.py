import polars as pl
import pytest

from gr2.artifacts import read_json
from gr2.data import prepare
from gr2.errors import InputError

ORDER = {"pretrain": 0, "train": 1, "valid": 2, "test": 3}


def prepared(world, folder, **changed):
    options = {"items": world.raw_items, "interactions": world.raw_interactions, "output_dir": str(folder)} | changed
    prepare.run(prepare.Config(**options))
    return pl.read_parquet(folder / "items.parquet"), pl.read_parquet(folder / "interactions.parquet")


def test_own_files_come_out_clean_and_in_order(world, tmp_path):
    raw = pl.read_csv(world.raw_items)
    dirty = raw.with_columns(("<|im_end|> " + pl.col("title") + " &amp; more\u200b").alias("title"))
    dirty.write_csv(tmp_path / "dirty.csv")
    items, events = prepared(world, tmp_path / "out", items=str(tmp_path / "dirty.csv"))
    assert items["title"].to_list() == [f"‹|im_end|› {title} & more" for title in raw["title"]]
    assert items["categories"].to_list() == [[name] for name in raw["categories"]]
    assert events.sort("user_id", "timestamp").equals(events)
    assert read_json(tmp_path / "out" / "summary.json") == {
        "events_read": 960, "users": 40, "items": 48, "events": 960,
        "splits": {"pretrain": 560, "train": 200, "valid": 40, "test": 160},
    }  # fmt: skip


def test_the_order_of_the_files_rows_changes_nothing(world, tmp_path):
    tied = pl.read_csv(world.raw_interactions).with_columns(pl.col("timestamp") // 300)
    tied.write_csv(tmp_path / "tied.csv")
    tied.sample(fraction=1, shuffle=True, seed=1).write_csv(tmp_path / "shuffled.csv")
    _, events = prepared(world, tmp_path / "a", interactions=str(tmp_path / "tied.csv"))
    _, shuffled = prepared(world, tmp_path / "b", interactions=str(tmp_path / "shuffled.csv"))
    assert events.n_unique(["user_id", "timestamp"]) < len(events) / 2
    assert shuffled.equals(events)
    assert (tmp_path / "a" / "interactions.parquet").read_bytes() == (
        tmp_path / "b" / "interactions.parquet"
    ).read_bytes()


def test_no_split_of_a_user_reaches_into_the_one_before(world):
    events = pl.read_parquet(world.interactions).with_columns(pl.col("split").replace_strict(ORDER).alias("order"))
    for (_,), own in events.group_by("user_id"):
        own = own.sort("position")
        assert own["order"].is_sorted() and own["timestamp"].is_sorted()
        assert own["order"].unique().to_list() == [0, 1, 2, 3]


def test_a_user_or_item_with_few_events_is_left_out(world, tmp_path):
    items, interactions = pl.read_csv(world.raw_items), pl.read_csv(world.raw_interactions)
    rare = pl.DataFrame({"user_id": ["rare"] * 3, "item_id": ["film00", "film01", "film02"], "timestamp": [1, 2, 3]})
    pl.concat([interactions, rare]).write_csv(tmp_path / "events.csv")
    unseen = pl.DataFrame({"item_id": ["unseen"], "title": ["Nobody's film"], "categories": ["Drama"]})
    pl.concat([items, unseen]).write_csv(tmp_path / "items.csv")
    own = {"items": str(tmp_path / "items.csv"), "interactions": str(tmp_path / "events.csv")}
    kept_items, events = prepared(world, tmp_path / "out", **own)
    assert "rare" not in events["user_id"] and "unseen" not in kept_items["item_id"]
    assert set(events["item_id"]) == set(kept_items["item_id"])
    _, events = prepared(world, tmp_path / "all", **own, min_user_events=1)
    own_splits = events.filter(pl.col("user_id") == "rare")["split"].to_list()
    assert own_splits == ["pretrain"] * 3  # too few to ask about


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"train_share": 0.6, "test_share": 0.4}, "expected a sum below 1"),
    ({"valid_share": -0.1}, "train_share . valid_share . test_share: expected"),
    ({"min_item_events": 500}, "lower min_user_events and min_item_events"),
    ({"items": None}, "expected --items FILE and --interactions FILE"),
])  # fmt: skip
def test_options_that_cannot_work_write_nothing(world, tmp_path, changed, complaint):
    with pytest.raises(InputError, match=complaint):
        prepared(world, tmp_path / "out", **changed)
    assert not (tmp_path / "out").exists()


def test_leave_one_out_makes_no_training_positions(world, tmp_path):
    _, events = prepared(world, tmp_path / "out", leave_one_out=True)
    for (_,), own in events.sort("position").group_by("user_id"):
        assert own["split"].to_list() == ["pretrain"] * 22 + ["valid", "test"]
    assert read_json(tmp_path / "out" / "summary.json")["splits"] == {
        "pretrain": 880, "train": 0, "valid": 40, "test": 40,
    }  # fmt: skip
