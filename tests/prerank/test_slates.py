import polars as pl
import pytest

from gr2.artifacts import read_json
from gr2.data.catalogue import read_catalogue
from gr2.data.splits import popularity
from gr2.data.tables import SLATE_SPLITS, read_interactions
from gr2.midtrain.train import pretrain_histories
from gr2.prerank import slates
from gr2.prerank.rankers import Query, popularity_ranker


def made(world, folder, **changed):
    options = {"items": world.items, "interactions": world.interactions, "semantic_ids": world.semantic_ids,
               "output_dir": str(folder), "pre_ranker": "popularity", "exclude_seen": False} | changed  # fmt: skip
    slates.run(slates.Config(**options))
    return pl.read_parquet(folder / "slates.parquet"), read_json(folder / "slates_report.json")["splits"]


def targets(frame):
    return [row["candidates"][row["labels"].index(1.0)] for row in frame.iter_rows(named=True)]


@pytest.fixture(scope="module")
def every_slate(world, tmp_path_factory):
    """All 48 items are candidates, so that every position makes a slate."""
    return made(world, tmp_path_factory.mktemp("every"), candidates=48)


@pytest.mark.parametrize("split", SLATE_SPLITS)
def test_no_slate_asks_for_an_event_that_anything_was_trained_on(world, every_slate, split):
    events = pl.read_parquet(world.interactions)
    position = {(row["user_id"], row["position"]): row for row in events.iter_rows(named=True)}
    learned = {
        (row["user_id"], row["position"]) for row in events.filter(pl.col("split") == "pretrain").iter_rows(named=True)
    }
    frame = every_slate[0].filter(pl.col("split") == split)
    assert len(frame) == (events["split"] == split).sum() > 0
    for row, target in zip(frame.iter_rows(named=True), targets(frame), strict=True):
        at = int(row["slate_id"].removeprefix(row["user_id"] + "-"))
        event = position[row["user_id"], at]
        assert event["split"] == split and event["item_id"] == target
        assert (row["user_id"], at) not in learned


def test_a_history_is_what_came_before_the_target_oldest_first(world, every_slate):
    events = pl.read_parquet(world.interactions).sort("user_id", "timestamp")
    items = {user: own["item_id"].to_list() for (user,), own in events.group_by("user_id", maintain_order=True)}
    for row, target in zip(every_slate[0].iter_rows(named=True), targets(every_slate[0]), strict=True):
        at = int(row["slate_id"].rpartition("-")[2])
        assert row["history"] == items[row["user_id"]][:at][-20:]
        assert items[row["user_id"]][at] == target
        assert sum(row["labels"]) == 1.0


def test_train_slates_come_before_valid_before_test(every_slate):
    frame = every_slate[0].with_columns(pl.col("slate_id").str.split("-").list.last().cast(pl.Int64).alias("at"))
    for (_,), own in frame.group_by("user_id"):
        own = own.sort("at")["split"].to_list()
        assert own == sorted(own, key=SLATE_SPLITS.index) and set(own) == set(SLATE_SPLITS)


def test_the_mid_trained_model_reads_pretrain_events_only(world):
    events = pl.read_parquet(world.interactions).filter(pl.col("split") == "pretrain").sort("user_id", "timestamp")
    histories = pretrain_histories(world.interactions, read_catalogue(world.items, world.semantic_ids))
    assert histories == events.group_by("user_id", maintain_order=True).agg("item_id")["item_id"].to_list()
    assert sum(map(len, histories)) == 560


def test_popularity_counts_pretrain_events_only(world, every_slate):
    events = pl.read_parquet(world.interactions)
    expected = dict(events.filter(pl.col("split") == "pretrain")["item_id"].value_counts().iter_rows())
    assert popularity(events) == expected
    first = every_slate[0].row(0, named=True)
    assert first["scores"] == [expected[item_id] for item_id in first["candidates"]]
    assert first["scores"] == sorted(expected.values(), reverse=True)


def test_what_happens_after_pretraining_does_not_change_the_candidates(world, tmp_path):
    events = pl.read_parquet(world.interactions)
    later = events.filter(pl.col("split") != "pretrain")
    permuted = later.with_columns(later["item_id"].sample(fraction=1, shuffle=True, seed=0))
    assert not permuted.equals(later)
    pl.concat([events.filter(pl.col("split") == "pretrain"), permuted]).write_parquet(tmp_path / "permuted.parquet")
    tops = []
    for file in (world.interactions, str(tmp_path / "permuted.parquet")):
        own = read_interactions(file)
        first = slates.slate_positions(own, None).unique(
            "user_id", keep="first", maintain_order=True
        )  # all before is pretrain
        queries = [Query(items, [rank]) for items, rank in first.select("items", "rank").iter_rows()]
        tops.append(list(popularity_ranker(queries, popularity(own), 10, exclude_seen=True)))
    assert tops[0] == tops[1] and len(tops[0]) == 40
    before, after = (
        made(world, tmp_path / "a")[0],
        made(world, tmp_path / "b", interactions=str(tmp_path / "permuted.parquet"))[0],
    )
    assert (
        before["candidates"].to_list()[0] == after["candidates"].to_list()[0]
    )  # nothing seen is dropped: one list for all
    assert before["candidates"].n_unique() == after["candidates"].n_unique() == 1
    histories = [pretrain_histories(file, read_catalogue(world.items, world.semantic_ids))
                 for file in (world.interactions, str(tmp_path / "permuted.parquet"))]  # fmt: skip
    assert histories[0] == histories[1]


@pytest.mark.parametrize("changed", [{}, {"candidates": 5}, {"exclude_seen": True}, {"max_positions": 2}])
def test_every_position_is_a_slate_or_counted_as_missed(world, tmp_path, changed):
    frame, report = made(world, tmp_path, **changed)
    events = pl.read_parquet(world.interactions)
    for split in SLATE_SPLITS:
        counts, own = report[split], frame.filter(pl.col("split") == split)
        assert counts["slates"] + counts["missed"] == counts["positions"]
        assert counts["slates"] == len(own)
        positions = events.filter(pl.col("split") == split).group_by("user_id").len()["len"]
        assert counts["positions"] == positions.clip(upper_bound=changed.get("max_positions", 1000)).sum()
    assert frame["candidates"].list.len().unique().to_list() == [changed.get("candidates", 10)]
    assert frame["slate_id"].n_unique() == len(frame)


def test_max_positions_keeps_the_latest_of_each_split(world, every_slate, tmp_path):
    frame = made(world, tmp_path, candidates=48, max_positions=2)[0]
    number = pl.col("slate_id").str.split("-").list.last().cast(pl.Int64)
    latest = every_slate[0].sort("user_id", number).group_by("user_id", "split").tail(2)
    assert set(frame["slate_id"]) == set(latest["slate_id"])


def test_items_of_the_whole_past_are_dropped_if_asked(world, tmp_path):
    frame = made(world, tmp_path, exclude_seen=True, candidates=30, history=2)[0]
    events = pl.read_parquet(world.interactions).sort("user_id", "timestamp")
    assert frame["history"].list.len().unique().to_list() == [2]
    for row in frame.iter_rows(named=True):
        past = events.filter(pl.col("user_id") == row["user_id"])["item_id"].to_list()[
            : int(row["slate_id"].rpartition("-")[2])
        ]
        assert not set(row["candidates"]) & set(past)


def test_a_short_list_is_not_a_slate(world, tmp_path):
    with pytest.raises(ValueError, match="found no target"):
        made(world, tmp_path, exclude_seen=True, candidates=48)  # fewer than 48 are unseen
    assert not any(tmp_path.iterdir())
