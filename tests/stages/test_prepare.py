import itertools

import polars as pl
import pytest

from gr2.data.splits import measure_later_share
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.options.help import describe_options
from gr2.stages import prepare, rerank, slates
from tests.helpers import refused

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
        "splits": {"pretrain": 560, "train": 200, "valid": 40, "test": 160}, "items_without_events": 0,
        "left_out": {
            "wrong_items": 0, "wrong_events": 0, "reasons": {}, "events_of_other_types": 0, "repeated_events": 0,
            "k_core": {"users": 0, "items": 0, "events": 0}, "items_without_events": 0,
        },
        "pretrain_later_than_first_test": 0.0, "pretrain_later_than_median_test": 0.0,
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


@pytest.mark.parametrize(("words", "complaint"), [
    (("--train_share", "0.6", "--test_share", "0.4"), "--train_share 0.6: expected a sum below 1 with"),
    (("--valid_share", "-0.1"), "--valid_share -0.1: expected a number of at least 0 and below 1"),
    (("--train_share", "nan"), "--train_share nan: expected a number"),
    (("--test_share", "1e308"), "--test_share 1e+308: expected a number"),
    (("--seed", "-1"), "--seed -1: expected a number from 0 to 4,294,967,295"),
    (("--seed", "99999999999999999999"), "--seed 99999999999999999999: expected a number"),
    (("--min_user_events", "-1"), "--min_user_events -1: expected a number"),
    (("--min_item_events", "99999999999999999999"), "--min_item_events 99999999999999999999: expected a number"),
    (("--min_item_events", "500"), "lower --min_user_events and --min_item_events"),
    (("--split", "time", "--leave_one_out", "true"), "--split time: expected --leave_one_out false"),
    (("--split", "month"), "month"),
    (("--columns", "item_id"), "--columns item_id: expected NAME=COLUMN"),
    (("--source", "amazon", "--items", ""), "--source amazon: expected --items FILE, the metadata file"),
])  # fmt: skip
def test_options_that_cannot_work_write_nothing(world, tmp_path, words, complaint):
    own = ["--items", world.raw_items, "--interactions", world.raw_interactions, "--output_dir", str(tmp_path / "out")]
    options = dict(zip(own[::2], own[1::2], strict=True)) | dict(zip(words[::2], words[1::2], strict=True))
    assert complaint in refused("prepare", *(word for pair in options.items() for word in pair))
    assert not (tmp_path / "out").exists()


def test_a_nan_share_is_refused_when_the_options_are_read(world, tmp_path):
    with pytest.raises(InputError, match="--train_share nan: expected a sum below 1"):
        prepared(world, tmp_path / "out", train_share=float("nan"))


def test_items_without_events_are_kept_and_counted_if_asked_for(world, tmp_path, capsys):
    items, interactions = pl.read_csv(world.raw_items), pl.read_csv(world.raw_interactions)
    new = pl.DataFrame({"item_id": ["new0", "new1"], "title": ["<b>New</b>", ""], "categories": ["Drama", None]})
    rare = pl.DataFrame({"user_id": ["rare"], "item_id": ["film00"], "timestamp": [1_000_000]})
    pl.concat([new, items]).write_csv(tmp_path / "items.csv")
    pl.concat([interactions, rare]).write_csv(tmp_path / "events.csv")
    own = {"items": str(tmp_path / "items.csv"), "interactions": str(tmp_path / "events.csv")}
    kept, events = prepared(world, tmp_path / "all", **own, min_item_events=0)
    assert kept["item_id"].to_list() == ["new0", "new1", *items["item_id"]]  # in the file's order
    assert kept["title"].to_list()[:2] == ["New", ""]
    assert "2 of the items have no events" in capsys.readouterr().out
    assert read_json(tmp_path / "all/summary.json")["items_without_events"] == 2
    kept, usual = prepared(world, tmp_path / "usual", **own)
    assert kept["item_id"].to_list() == items["item_id"].to_list() and usual.equals(events)
    assert "no events" not in capsys.readouterr().out
    kept, _ = prepared(world, tmp_path / "one", **own, min_item_events=1)
    assert "new0" not in kept["item_id"]


def seconds_apart(world, folder, unit):
    """The tiny world with each user's events a 24th of a second apart, in a column of `unit`, items in random order."""
    events = pl.read_csv(world.raw_interactions)
    order = pl.int_range(pl.len()).over("user_id")
    milliseconds = 1_700_000_000_000 + 41 * order
    events = events.with_columns((milliseconds * 1000).cast(pl.Datetime("us")).alias("timestamp"))
    if unit == "text":
        events = events.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S%.3f"))
    elif unit != "datetime":
        events = events.with_columns(pl.col("timestamp").dt.epoch(unit))
    events.sample(fraction=1, shuffle=True, seed=0).write_parquet(folder / f"{unit}.parquet")
    return pl.read_csv(world.raw_interactions), str(folder / f"{unit}.parquet")


@pytest.mark.parametrize("unit", ["datetime", "text", "ms", "us", "ns"])
def test_an_order_within_a_second_is_kept(world, tmp_path, unit):
    raw, path = seconds_apart(world, tmp_path, unit)
    _, events = prepared(world, tmp_path / "out", interactions=path)
    assert events.columns == ["user_id", "item_id", "timestamp", "position", "split"]
    assert events["timestamp"].unique().to_list() == [1_700_000_000]
    assert events.select("user_id", "item_id").equals(raw.select("user_id", "item_id"))  # user by user, as they came


def test_one_boundary_in_time_divides_all_users(world, tmp_path, capsys):
    raw = pl.read_csv(world.raw_interactions)
    number = pl.col("user_id").str.slice(4).cast(pl.Int64)
    shifted = raw.with_columns(pl.col("timestamp") + 100 * number)  # later users come later
    early = shifted.filter(number < 2).with_columns(
        pl.col("timestamp") - 900_000, pl.format("early{}", "user_id").alias("user_id")
    )
    late = shifted.filter(number < 2).with_columns(
        pl.col("timestamp") + 900_000, pl.format("late{}", "user_id").alias("user_id")
    )
    pl.concat([shifted, early, late]).write_csv(tmp_path / "events.csv")
    options = {"interactions": str(tmp_path / "events.csv"), "split": "time"}
    _, events = prepared(world, tmp_path / "out", **options)
    ends = [
        (own["timestamp"].min(), own["timestamp"].max())
        for name in ORDER
        for own in [events.filter(pl.col("split") == name)]
    ]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))
    shares = [(events["split"] == name).mean() for name in ORDER]
    assert shares == pytest.approx([0.6, 0.2, 0.05, 0.15], abs=0.02)
    by_user = dict(events.group_by("user_id").agg(pl.col("split").unique()).iter_rows())
    assert set(by_user["earlyuser00"]) == {"pretrain"} and set(by_user["lateuser00"]) == {"test"}
    summary = read_json(tmp_path / "out/summary.json")
    assert summary["pretrain_later_than_first_test"] == summary["pretrain_later_than_median_test"] == 0
    assert "0.0% of the pretrain events are later than the first test event" in capsys.readouterr().out
    _, per_user = prepared(world, tmp_path / "user", interactions=options["interactions"])
    summary = read_json(tmp_path / "user/summary.json")
    assert summary["pretrain_later_than_first_test"] == measure_later_share(per_user) > 0.9


def test_a_split_by_time_goes_through_slates_and_evaluation(world, tmp_path):
    raw = pl.read_csv(world.raw_interactions)
    raw.with_columns(pl.col("timestamp") + 100 * pl.col("user_id").str.slice(4).cast(pl.Int64)).write_csv(
        tmp_path / "events.csv"
    )
    prepared(world, tmp_path / "prepare", interactions=str(tmp_path / "events.csv"), split="time")
    files = {name: str(tmp_path / f"prepare/{name}.parquet") for name in ("items", "interactions")}
    slates.run(slates.Config(**files, output_dir=str(tmp_path / "slates"), pre_ranker=["item_knn"], exclude_seen=False))
    made = pl.read_parquet(tmp_path / "slates/slates.parquet")
    assert set(made["split"]) == {"train", "valid", "test"} and made["history"].list.len().min() >= 1
    users = pl.read_parquet(files["interactions"]).group_by("user_id").agg(pl.col("split").n_unique())
    assert users["split"].min() < 4  # some users lack a split
    fields = {
        "slates": str(tmp_path / "slates/slates.parquet"),
        "items": files["items"],
        "interactions": files["interactions"],
    }
    rerank.run(rerank.Config(**fields, reranker="popularity", output_dir=str(tmp_path / "ranked")))
    assert len(pl.read_parquet(tmp_path / "ranked/rankings.parquet")) == (made["split"] == "test").sum()


def test_leave_one_out_makes_no_training_positions(world, tmp_path):
    _, events = prepared(world, tmp_path / "out", leave_one_out=True)
    for (_,), own in events.sort("position").group_by("user_id"):
        assert own["split"].to_list() == ["pretrain"] * 22 + ["valid", "test"]
    assert read_json(tmp_path / "out" / "summary.json")["splits"] == {
        "pretrain": 880, "train": 0, "valid": 40, "test": 40,
    }  # fmt: skip


def test_the_help_says_that_a_share_of_0_is_still_an_event_of_each_user():
    help = " ".join(describe_options("prepare", prepare.Config, "About.").split())
    assert "even a share of 0 is at least one event; time:" in help
    assert help.count("0 is no event only with split time") == 2
