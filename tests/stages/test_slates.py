from pathlib import Path

import polars as pl
import pytest
import torch

from gr2.data.splits import popularity
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.files.interactions import SPLITS
from gr2.files.items import order_digest
from gr2.files.slates import SLATE_SPLITS
from gr2.retrieval.sasrec import SASRec, SASRecConfig
from gr2.stages import slates
from tests.helpers import gr2, refused


def made(world, folder, **changed):
    options = {
        "items": world.items,
        "interactions": world.interactions,
        "output_dir": str(folder),
        "pre_ranker": ["popularity"],
        "exclude_seen": False,
    } | changed
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
    from gr2.midtrain.examples import read_histories

    events = pl.read_parquet(world.interactions).filter(pl.col("split") == "pretrain").sort("user_id", "timestamp")
    histories = read_histories(world.interactions, pl.read_parquet(world.items)["item_id"])
    assert histories == events.group_by("user_id", maintain_order=True).agg("item_id")["item_id"].to_list()
    assert sum(map(len, histories)) == 560


def test_popularity_counts_pretrain_events_only(world, every_slate):
    events = pl.read_parquet(world.interactions)
    expected = dict(events.filter(pl.col("split") == "pretrain")["item_id"].value_counts().iter_rows())
    assert popularity(events) == expected
    first = every_slate[0].row(0, named=True)
    assert first["scores"] == [expected[item_id] for item_id in first["candidates"]]
    assert first["scores"] == sorted(expected.values(), reverse=True)


@pytest.fixture(scope="module")
def untrained_sasrec(world, tmp_path_factory):
    """A SASRec whose answers depend on all it reads."""
    folder, item_ids = tmp_path_factory.mktemp("sasrec"), pl.read_parquet(world.items)["item_id"]
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(len(item_ids), 16, 1, 2, length=8, items_digest=order_digest(item_ids)))
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    model.save_pretrained(folder)
    return str(folder)


def top_k(world, folder, **changed):
    """(user_id, position) -> (split, items, scores): the list of all 48 items."""
    made(world, folder, depth=48, **changed)
    frame = pl.read_parquet(folder / "top_k.parquet")
    events = pl.read_parquet(changed.get("interactions", world.interactions))
    frame = frame.join(events.select("user_id", "position", "split"), on=["user_id", "position"])
    assert len(frame) == (events["split"] != "pretrain").sum()
    rows = frame.select("user_id", "position", "split", "candidates", "scores").iter_rows()
    return {(user, at): (split, items, scores) for user, at, split, items, scores in rows}


RANKERS = [["popularity"], ["item_knn"], ["bm25"], ["sasrec"], ["item_knn", "sasrec", "popularity"]]


@pytest.mark.parametrize("pre_ranker", RANKERS, ids="+".join)
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_what_happens_after_pretraining_does_not_change_the_candidates(
    world, tmp_path, untrained_sasrec, pre_ranker, exclude_seen
):
    """Other train, valid and test events: the lists at a user's first position, all of whose past is pretrain, stay.

    Other test events alone: those at train and valid positions stay too, and a user's first at test.
    """
    events = pl.read_parquet(world.interactions)
    lists, options = {}, {"pre_ranker": pre_ranker, "sasrec": untrained_sasrec, "exclude_seen": exclude_seen}
    for name, kept in (("all", SPLITS), ("pretrain", SPLITS[:1]), ("no test", SPLITS[:3])):
        later = events.filter(~pl.col("split").is_in(kept))
        permuted = later.with_columns(later["item_id"].sample(fraction=1, shuffle=True, seed=0))
        pl.concat([events.filter(pl.col("split").is_in(kept)), permuted]).write_parquet(tmp_path / "events.parquet")
        lists[name] = top_k(world, tmp_path / name, **options, interactions=str(tmp_path / "events.parquet"))
    whole = lists["all"]
    first = set({user: (user, at) for user, at in sorted(whole, reverse=True)}.values())
    tests = [key for key in sorted(whole, reverse=True) if whole[key][0] == "test"]
    first_tests = set({user: (user, at) for user, at in tests}.values())
    assert len(first) == len(first_tests) == 40
    for key in whole:
        if key in first:
            assert lists["pretrain"][key] == whole[key]
        if key in first_tests or whole[key][0] != "test":
            assert lists["no test"][key] == whole[key]
    depends = pre_ranker != ["popularity"] or exclude_seen  # on the past, so that the test can fail
    assert (lists["pretrain"] != whole) == (lists["no test"] != whole) == depends


@pytest.mark.parametrize("pre_ranker", RANKERS, ids="+".join)
def test_top_k_read_back_gives_the_same_slates(world, tmp_path, untrained_sasrec, pre_ranker):
    options = {"exclude_seen": True, "candidates": 8}
    first, report = made(world, tmp_path / "a", pre_ranker=pre_ranker, sasrec=untrained_sasrec, depth=20, **options)
    lengths = pl.read_parquet(tmp_path / "a/top_k.parquet")["candidates"].list.len()
    assert lengths.max() == 20 and len(lengths) == sum(counts["positions"] for counts in report.values())
    again, other = made(world, tmp_path / "b", pre_ranker=["file"], top_k=str(tmp_path / "a/top_k.parquet"), **options)
    assert first.equals(again) and report == other


def test_top_k_is_as_deep_as_asked_and_holds_the_missed_positions(world, tmp_path):
    made(world, tmp_path, depth=4)  # ten candidates
    frame = pl.read_parquet(tmp_path / "top_k.parquet")
    assert set(frame["candidates"].list.len()) == set(frame["scores"].list.len()) == {4}
    assert frame.select("user_id", "position").n_unique() == len(frame) == 400


def test_without_depth_there_are_only_slates(world, tmp_path):
    made(world, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"slates.parquet", "slates_report.json"}


def test_only_the_asked_splits_have_slates(world, every_slate, tmp_path):
    frame, report = made(world, tmp_path, candidates=48, splits=["valid", "test"])
    assert frame.equals(every_slate[0].filter(pl.col("split") != "train"))
    assert report["train"] == {"positions": 0, "missed": 0, "short": 0, "slates": 0}


def words(world, folder, **changed):
    options = {
        "items": world.items,
        "interactions": world.interactions,
        "output_dir": folder,
        "pre_ranker": "popularity",
    } | changed
    return [
        str(word)
        for name, value in options.items()
        for word in (f"--{name}", *(value if isinstance(value, list) else [value]))
    ]


LATER = {"protocol": "later", "relevant": 2}


@pytest.mark.parametrize(("changed", "message"), [
    ({"pre_ranker": "popular"}, "--pre_ranker popular: expected one or more of beam, "),
    ({"pre_ranker": ["bm25", "bm25"]}, "--pre_ranker bm25 bm25: expected one or more of beam, "),
    ({"splits": ["pretrain", "test"]}, "--splits pretrain test: expected one or more of train, valid, test"),
    ({"splits": ["pretrain"]}, "--splits pretrain: expected --protocol later or impressions; with next, "),
    ({"pre_ranker": "sasrec"}, "expected --sasrec FOLDER"),
    ({"pre_ranker": "sasrec", "sasrec": "nowhere"}, "nowhere: expected a folder that `gr2 sasrec` wrote"),
    ({"pre_ranker": ["bm25", "beam"]}, "--pre_ranker beam: expected --model_name_or_path"),
    ({"pre_ranker": "file"}, "--pre_ranker file: expected --top_k FILE"),
    ({"pre_ranker": ["file", "bm25"], "top_k": "x"}, "no other pre-ranker"),
    ({"top_k": "lists.parquet"}, "--top_k lists.parquet: expected --pre_ranker file"),
    ({"pre_ranker": "beam", "model_name_or_path": "m", "semantic_ids": "i", "window": 9},
     "--window 9: expected at least --history, 20"),
    ({"shuffle": "true"}, "--shuffle true: expected --protocol later or impressions"),
    ({"protocol": "latter"}, "--protocol latter: expected one of next, later, impressions"),
    (LATER | {"depth": 5}, "--depth 5: expected --protocol next"),
    (LATER | {"keep_missed": "true"}, "--keep_missed True: expected --protocol next"),
    (LATER | {"max_positions": 2}, "--max_positions 2: expected --protocol next"),
    (LATER | {"train_horizon": 2}, "--train_horizon 2: expected --protocol next"),
    (LATER | {"relevant": 10}, "--relevant 10: expected fewer than --candidates, 10"),
    ({"others": "matched"}, "--others matched: expected --protocol later, which alone has it"),
    ({"protocol": "impressions", "train_stride": 2}, "--train_stride 2: expected --protocol later, which alone has it"),
    (LATER | {"pre_ranker": "file", "top_k": "x"}, "--pre_ranker file: expected others than file and beam"),
    ({"liked": "nan"}, "--liked nan: expected a number"),
    *(({name: 0}, f"--{name} 0: expected a number of at least 1") for name in
      ("candidates", "history", "depth", "beams", "window", "batch_size", "relevant", "train_horizon",
       "max_positions", "train_stride")),
])  # fmt: skip
def test_bad_options_are_refused_and_nothing_is_written(world, tmp_path, changed, message):
    assert message in refused("slates", *words(world, tmp_path / "out", **changed))
    assert not any(tmp_path.iterdir())


def test_splits_without_a_position_are_refused(world, tmp_path):
    pl.read_parquet(world.interactions).filter(pl.col("split") != "valid").write_parquet(tmp_path / "events.parquet")
    with pytest.raises(InputError, match=r"events\.parquet: expected positions of valid with a past, found none"):
        made(world, tmp_path / "out", interactions=str(tmp_path / "events.parquet"), splits=["valid"])


def test_two_events_at_one_position_are_refused(world, tmp_path):
    events = pl.read_parquet(world.interactions)
    pl.concat([events, events[-1:]]).write_parquet(tmp_path / "events.parquet")
    with pytest.raises(
        InputError, match=r"events\.parquet: row 960, column 'position': expected one event per user and position"
    ):
        made(world, tmp_path / "out", interactions=str(tmp_path / "events.parquet"))
    assert not (tmp_path / "out").exists()


def test_a_sasrec_of_other_items_is_refused(world, tmp_path, untrained_sasrec):
    pl.read_parquet(world.items).reverse().write_parquet(tmp_path / "items.parquet")
    with pytest.raises(InputError, match="it was trained on other items, or another order"):
        made(
            world,
            tmp_path / "out",
            pre_ranker=["sasrec"],
            sasrec=untrained_sasrec,
            items=str(tmp_path / "items.parquet"),
        )
    assert not (tmp_path / "out").exists()


def test_a_sasrec_that_was_cut_short_is_refused(world, tmp_path, untrained_sasrec):
    for file in ("config.json", "model.safetensors"):
        content = Path(untrained_sasrec, file).read_bytes()
        (tmp_path / file).write_bytes(content[: len(content) if file == "config.json" else len(content) // 2])
    with pytest.raises(InputError, match="no loadable SASRec"):
        made(world, tmp_path / "out", pre_ranker=["sasrec"], sasrec=str(tmp_path))
    assert not (tmp_path / "out").exists()


def test_a_list_that_the_catalogue_cannot_fill_is_not_a_slate(world, tmp_path):
    """48 items are fewer than 60 candidates, whoever lists them."""
    for pre_ranker in (["popularity"], ["item_knn"], ["bm25"], ["item_knn", "popularity"]):
        with pytest.raises(
            InputError, match=r"made no slate of 400 positions: it missed the target at 0 and .* 60 items at 400"
        ):
            made(world, tmp_path, pre_ranker=pre_ranker, candidates=60)


def test_command_line(world, tmp_path):
    done = gr2("slates", "--items", world.items, "--interactions", world.interactions, "--output_dir", tmp_path / "out",
               "--pre_ranker", "item_knn", "bm25", "--depth", "12", "--exclude_seen", "false")  # fmt: skip
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "slates.parquet", "slates_report.json", "top_k.parquet", "manifest.json"
    }  # fmt: skip
    report = read_json(tmp_path / "out/slates_report.json")
    assert (report["pre_ranker"], report["exclude_seen"]) == ("item_knn + bm25", False)
    counts = report["splits"]["test"]
    said = f"test: {counts['slates']} slates of 160 positions; {counts['missed']} missed, {counts['short']} short"
    assert said in done.stdout and counts["missed"] > 0 == counts["short"]


@pytest.mark.parametrize("changed", [{}, {"candidates": 5}, {"exclude_seen": True}, {"max_positions": 2}])
def test_every_position_is_a_slate_or_missed_or_short(world, tmp_path, changed):
    frame, report = made(world, tmp_path, **changed)
    events = pl.read_parquet(world.interactions)
    for split in SLATE_SPLITS:
        counts, own = report[split], frame.filter(pl.col("split") == split)
        assert counts["slates"] + counts["missed"] + counts["short"] == counts["positions"]
        assert counts["short"] == 0
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
    with pytest.raises(InputError, match="48 items at 400"):
        made(world, tmp_path, exclude_seen=True, candidates=48)  # fewer than 48 are unseen
    assert not any(tmp_path.iterdir())


def test_missed_train_positions_can_be_kept_without_a_label(world, tmp_path):
    frame, report = made(world, tmp_path / "hits")
    everything, same_report = made(world, tmp_path / "all", keep_missed=True)
    assert same_report == report
    missed = everything.filter(pl.col("labels").list.sum() == 0)
    assert everything.filter(pl.col("labels").list.sum() > 0).equals(frame)
    assert len(missed) == report["train"]["missed"] > 0 and set(missed["split"]) == {"train"}


def test_a_horizon_makes_the_next_train_events_relevant_and_no_others(world, every_slate, tmp_path):
    frame, _ = made(world, tmp_path, candidates=48, train_horizon=3)
    train = pl.read_parquet(world.interactions).filter(pl.col("split") == "train").sort("user_id", "position")
    for row in frame.filter(pl.col("split") == "train").iter_rows(named=True):
        at = int(row["slate_id"].removeprefix(row["user_id"] + "-"))
        own = train.filter((pl.col("user_id") == row["user_id"]) & (pl.col("position") >= at))["item_id"].to_list()
        relevant = {item for item, label in zip(row["candidates"], row["labels"], strict=True) if label}
        assert relevant == set(own[:3]) and set(row["labels"]) == {0.0, 1.0}
    judged, same = (own.filter(pl.col("split") != "train") for own in (frame, every_slate[0]))
    assert judged.equals(same), "valid and test slates ask for the next item alone"


BEAM = {"pre_ranker": ["beam"], "history": 4, "window": 8, "beams": 10}


@pytest.mark.slow
@pytest.mark.parametrize("pre_ranker", [["beam"], *RANKERS], ids="+".join)
@pytest.mark.parametrize(
    "changed", [{"splits": ["test"]}, {"max_positions": 2}, {"splits": ["valid"], "batch_size": 3}]
)
def test_the_list_at_a_position_is_the_same_whatever_else_is_asked(
    world, midtrained, untrained_sasrec, tmp_path, pre_ranker, changed
):
    options = BEAM | {
        "pre_ranker": pre_ranker,
        "sasrec": untrained_sasrec,
        "exclude_seen": True,
        "depth": 10,
        "model_name_or_path": midtrained,
        "semantic_ids": world.semantic_ids,
    }
    tables = []
    for name, more in (("whole", {}), ("part", changed)):
        made(world, tmp_path / name, **options | more)
        tables.append(pl.read_parquet(tmp_path / name / "top_k.parquet"))
    both = tables[1].join(tables[0], on=["user_id", "position"], how="inner")
    assert 0 < len(both) == len(tables[1]) < len(tables[0])
    assert both["candidates"].equals(both["candidates_right"], check_names=False)
    difference = both["scores"].explode() - both["scores_right"].explode()
    assert difference.abs().max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("candidates", [10, 30])
def test_beam_lists_are_full_wherever_the_catalogue_has_so_many_unseen_items(world, midtrained, tmp_path, candidates):
    """Users have seen up to 14 films of 48; 30 beams for 30 places come out full where 30 are left."""
    _, report = made(
        world,
        tmp_path,
        **BEAM | {"beams": 1},
        exclude_seen=True,
        candidates=candidates,
        depth=candidates,
        model_name_or_path=midtrained,
        semantic_ids=world.semantic_ids,
    )
    events = pl.read_parquet(world.interactions).sort("user_id", "position")
    pasts = {user: own["item_id"].to_list() for (user,), own in events.group_by("user_id")}
    lists, short = pl.read_parquet(tmp_path / "top_k.parquet"), 0
    for user, at, found, _ in lists.iter_rows():
        past = set(pasts[user][:at])
        assert len(found) == len(set(found)) == min(candidates, 48 - len(past)) and not past & set(found)
        short += len(found) < candidates
    assert sum(counts["short"] for counts in report.values()) == short


def test_a_short_list_goes_on_with_popular_items_that_the_user_has_not_seen(world, tmp_path):
    """Users are known by three films each: item-kNN finds few that have anything in common with a history."""
    events = pl.read_parquet(world.interactions)
    lonely = events.filter((pl.col("split") != "pretrain") | (pl.col("position") < 3))
    lonely.write_parquet(tmp_path / "events.parquet")
    options = {"interactions": str(tmp_path / "events.parquet"), "exclude_seen": True, "depth": 10}
    counts = popularity(lonely)
    _, report = made(world, tmp_path / "knn", pre_ranker=["item_knn"], **options)
    assert all(own["short"] == 0 for own in report.values())
    by_user = lonely.group_by("user_id").agg("position", "item_id")
    pasts = {user: list(zip(positions, items, strict=True)) for user, positions, items in by_user.iter_rows()}
    items = pl.read_parquet(world.items)["item_id"].to_list()
    went_on = 0
    for user, at, found, scores in pl.read_parquet(tmp_path / "knn/top_k.parquet").iter_rows():
        past = {item for position, item in pasts[user] if position < at}
        own = [item for item, score in zip(found, scores, strict=True) if score > 0]
        more = found[len(own) :]
        rest = [item for item in items if item not in past | set(own)]
        assert more == sorted(rest, key=lambda item: -counts.get(item, 0))[: 10 - len(own)]
        assert not past & set(found) and scores[len(own) :] == [0.0] * len(more)
        went_on += len(more) > 0
    assert went_on > 50


def test_fused_slates_say_what_each_pre_ranker_gave(world, tmp_path):
    """Its rank and score in its own list of 48 items; null for items of another or filled in by popularity."""
    names = ["item_knn", "bm25"]
    frame, _ = made(world, tmp_path / "fused", pre_ranker=names, depth=48, candidates=20)
    own = {name: top_k(world, tmp_path / name, pre_ranker=[name]) for name in names}
    found = 0
    for slate in frame.iter_rows(named=True):
        user, _, at = slate["slate_id"].rpartition("-")
        assert len(slate["sources"]) == len(slate["candidates"]) == 20
        for name in names:
            _, items, scores = own[name][user, int(at)]
            for item_id, given in zip(slate["candidates"], slate["sources"], strict=True):
                rank, known = items.index(item_id), given[name]
                if known is None:
                    assert scores[rank] == 0  # below what has anything in common
                else:
                    assert known == {"rank": rank + 1, "score": scores[rank]} and scores[rank] > 0
                    found += 1
    assert found > 100
    again, _ = made(
        world, tmp_path / "file", pre_ranker=["file"], top_k=str(tmp_path / "fused/top_k.parquet"), candidates=20
    )
    assert again.equals(frame)
    assert "sources" not in made(world, tmp_path / "one", pre_ranker=["bm25"])[0].columns
