"""Recall beside chance: lists drawn at random are no better, and are said to be none."""

import numpy as np
import polars as pl
import pytest

from gr2.files.artifacts import read_json
from gr2.retrieval.positions import read_events, select_positions
from gr2.retrieval.report import add_recall, describe_counts, holds_seen
from gr2.stages import slates


@pytest.fixture(scope="module")
def asked(world):
    log = read_events(world.items, world.interactions)
    return log, select_positions(log.events, ["test"], None)


def random_lists(asked, size, seed, exclude_seen):
    log, positions = asked
    rng, count = np.random.default_rng(seed), len(positions.queries)
    order = rng.random((count, len(log.item_ids)))
    if exclude_seen:
        order[positions.queries.seen()] = 2
    return order.argsort(1)[:, :size].astype(np.int32)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_recall_of_random_lists_is_the_chance(asked, exclude_seen):
    log, positions = asked
    target, measured = positions.frame["row"].to_numpy(), []
    for seed in range(200):
        top = random_lists(asked, 10, seed, exclude_seen)
        hits = int((top == target[:, None]).any(1).sum())
        counts = {"test": {"positions": len(target), "missed": len(target) - hits, "short": 0, "slates": hits}}
        measured.append(add_recall(counts, log, positions, top, exclude_seen, 1)["test"])
        shown = add_recall(counts, log, positions, top, None, 1)["test"]
        assert shown == measured[-1] and holds_seen(top, positions.queries) != exclude_seen
    chances = {own["chance"] for own in measured}
    assert len(chances) == 1
    assert np.mean([own["recall"] for own in measured]) == pytest.approx(chances.pop(), abs=0.005)
    false_alarms = np.mean([own["p_chance"] < 0.05 for own in measured])
    assert 0.005 < false_alarms < 0.07


def test_lists_at_chance_are_called_that(world, asked, tmp_path, capsys):
    log, positions = asked
    ids = log.item_ids.to_list()
    lists = [[ids[row] for row in own] for own in random_lists(asked, 10, 1, False)]
    table = positions.frame.select("user_id", "position").with_columns(candidates=pl.Series(lists))
    table.write_parquet(tmp_path / "random.parquet")
    options = {"items": world.items, "interactions": world.interactions, "output_dir": str(tmp_path / "out")}
    slates.run(slates.Config(**options, pre_ranker=["file"], top_k=str(tmp_path / "random.parquet")))
    said = {line.split(":")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "by chance 0.208: no better than chance (p = " in said["test"]
    assert "chance" not in said["train"]  # it has no lists
    assert read_json(tmp_path / "out/slates_report.json")["splits"]["test"]["p_chance"] > 0.05
    options |= {"output_dir": str(tmp_path / "knn"), "exclude_seen": False}
    slates.run(slates.Config(**options, pre_ranker=["item_knn"]))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("test")]
    assert "by chance 0.208" in line and "no better" not in line


def test_a_horizon_has_no_such_measure(asked):
    log, positions = asked
    counts = {"positions": 1, "missed": 1, "short": 0, "slates": 0}
    top = random_lists(asked, 10, 0, False)
    assert add_recall({"train": counts, "test": counts}, log, positions, top, False, 3)["train"] == counts
    assert describe_counts("train", counts, 10) == "train: 0 slates of 1 positions; 1 missed, 0 short"
