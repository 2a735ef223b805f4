import json

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from gr2 import metrics
from gr2.errors import InputError
from gr2.rerankers.list_writer.train_glorank import group_advantages
from gr2.rerankers.record import RECORD
from gr2.stages import rerank, slates
from gr2.training import LOG
from tests.forking import forked
from tests.helpers import fit, resumed_after_a_kill
from tests.helpers import list_writer_words as words


@pytest.fixture(scope="module")
def cloned(world, later, tmp_path_factory):
    folder = tmp_path_factory.mktemp("glorank") / "cloned"
    forked("fit", "glorank", "--output_dir", folder, *words(world, later))
    return folder


@pytest.fixture(scope="module")
def started(world, later, tmp_path_factory) -> str:
    """A network after one epoch, made in this process."""
    folder = tmp_path_factory.mktemp("glorank") / "started"
    known = {"items": world.items, "slates": later, "semantic_ids": world.semantic_ids}
    fit("glorank", folder, known, list_size=2, hidden_size=16, epochs=1, batch_size=64)
    return str(folder)


def lists_of(world, path: str, reranker, folder) -> float:
    """NDCG@2 on the test slates, whose rankings are permutations."""
    rerank.run(
        rerank.Config(
            items=world.items,
            slates=path,
            semantic_ids=world.semantic_ids,
            reranker=str(reranker),
            output_dir=str(folder),
        )
    )
    joined = pl.read_parquet(path).join(pl.read_parquet(folder / "rankings.parquet"), on="slate_id")
    ranked = []
    for candidates, labels, ranking in joined.select("candidates", "labels", "ranking").rows():
        assert sorted(ranking) == sorted(candidates)
        ranked.append([dict(zip(candidates, labels, strict=True))[item] for item in ranking])
    return float(metrics.ndcg(np.array(ranked), 2).mean())


@pytest.mark.slow
def test_cloning_beats_the_input_order_and_reinforcement_does_not_lose_it(world, later, cloned, tmp_path):
    given_order = lists_of(world, later, "input_order", tmp_path / "given")
    first = lists_of(world, later, cloned, tmp_path / "cloned")
    assert first > given_order + 0.2
    forked(
        "fit",
        "glorank",
        "--output_dir",
        tmp_path / "reinforced",
        *words(world, later, model_name_or_path=cloned, epochs=3, learning_rate=1e-4),
    )
    assert lists_of(world, later, tmp_path / "reinforced", tmp_path / "again") > first - 0.05
    log = [json.loads(line) for line in (tmp_path / "reinforced" / LOG).read_text().splitlines()]
    assert sum("eval_ndcg" in entry for entry in log) == 3
    assert {file.name for file in cloned.iterdir()} == {
        "config.json",
        "model.safetensors",
        LOG,
        "manifest.json",
        RECORD,
    }


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_bytes(world, later, tmp_path):
    resumed_after_a_kill("fit glorank", tmp_path, words(world, later, hidden_size=8, epochs=5))


def test_advantages_are_relative_to_the_group_and_nothing_where_all_are_the_same():
    found = group_advantages(torch.tensor([1.0, 0.0, 0.5, 0.5, 0.5, 0.5]), 2)
    assert found[:2].tolist() == pytest.approx([0.7071, -0.7071], abs=1e-3) and found[2:].tolist() == [0, 0, 0, 0]


def test_reinforcement_keeps_the_start_where_no_epoch_is_better(world, later, started, tmp_path, capsys):
    """A step this small changes nothing; what is rewarded is also what decides."""
    known = {"items": world.items, "slates": later, "semantic_ids": world.semantic_ids, "model_name_or_path": started}
    fit("glorank", tmp_path / "out", known, utility="precision", learning_rate=1e-12, epochs=2, batch_size=64)
    assert "no epoch is better on the valid slates than the start, which is kept" in capsys.readouterr().out
    kept, start = (load_file(f"{folder}/model.safetensors") for folder in (tmp_path / "out", started))
    assert all(kept[name].equal(start[name]) for name in start)
    log = [json.loads(line) for line in (tmp_path / "out" / LOG).read_text().splitlines()]
    epochs = [entry["eval_precision"] for entry in log if "eval_precision" in entry]
    assert len(epochs) == 2 and log[-1]["start_precision"] == pytest.approx(epochs[0])


def test_demonstrations_teach_what_the_train_slates_do_not_show(world, later, tmp_path):
    """Lists of pretrain histories, none of them of a train position; with two train slates alone little is learned."""
    folder, events = tmp_path / "slates", pl.read_parquet(world.interactions)
    made = {"relevant": 2, "candidates": 12, "history": 6, "pre_ranker": ["popularity"], "exclude_seen": False}
    files = {"items": world.items, "interactions": world.interactions, "output_dir": str(folder)}
    slates.run(slates.Config(**files, **made, protocol="later", splits=["pretrain"]))
    more = pl.read_parquet(folder / "slates.parquet")
    positions = more.select("user_id", position=pl.col("slate_id").str.extract(r"(\d+)$").cast(pl.Int64))
    asked = positions.join(events, on=["user_id", "position"], how="left")
    assert set(asked["split"]) == {"pretrain"} and set(more["split"]) == {"train"}
    few = pl.read_parquet(later).filter(pl.col("split") == "train")
    few = few.with_columns(split=pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("train")).otherwise(pl.lit("valid")))
    few.write_parquet(tmp_path / "few.parquet")
    known = {"items": world.items, "slates": str(tmp_path / "few.parquet"), "semantic_ids": world.semantic_ids}
    options = {"list_size": 2, "hidden_size": 16, "learning_rate": 1e-2, "epochs": 8, "batch_size": 16}
    best = {}
    for name, others in (("without", {}), ("with", {"demonstrations": str(folder / "slates.parquet")})):
        fit("glorank", tmp_path / name, known, **options, **others)
        log = [json.loads(line) for line in (tmp_path / name / LOG).read_text().splitlines()]
        best[name] = max(entry["eval_ndcg"] for entry in log if "eval_ndcg" in entry)
    assert best["with"] > best["without"] + 0.1


@pytest.mark.parametrize(("options", "complaint"), [
    ({"space": "pointer", "shared": True}, "--shared true: expected --space global, found pointer"),
    ({"space": "place", "look_ahead": True}, "--look_ahead true: expected --space global, found place"),
    ({"codebooks": "sids", "model_name_or_path": "m"}, "--codebooks sids: expected no --model_name_or_path: m has "),
    ({"look_ahead": True, "model_name_or_path": "STARTED"}, "--look_ahead True: expected False, as .* has it"),
])  # fmt: skip
def test_options_that_do_not_go_together_are_refused(world, later, started, tmp_path, options, complaint):
    options = {name: started if value == "STARTED" else value for name, value in options.items()}
    known = {"items": world.items, "slates": later, "semantic_ids": world.semantic_ids}
    with pytest.raises(InputError, match=complaint):
        fit("glorank", tmp_path / "out", known, **options)


def test_lists_longer_than_every_train_slate_are_refused(world, later, tmp_path):
    known = {"items": world.items, "slates": later, "semantic_ids": world.semantic_ids}
    with pytest.raises(
        InputError, match="--list_size 13: expected at most 12, the candidates of the longest train slate"
    ):
        fit("glorank", tmp_path / "out", known, list_size=13)
