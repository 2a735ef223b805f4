import json

import numpy as np
import polars as pl
import pytest
import torch

from gr2 import metrics
from gr2.errors import InputError
from gr2.rerankers.list_writer.train_glorank import group_advantages
from gr2.rerankers.record import RECORD
from gr2.stages import rerank
from gr2.training import LOG
from tests.helpers import fit, gr2, resumed_after_a_kill
from tests.helpers import list_writer_words as words


@pytest.fixture(scope="module")
def cloned(world, later, tmp_path_factory):
    folder = tmp_path_factory.mktemp("glorank") / "cloned"
    gr2("fit", "glorank", "--output_dir", folder, *words(world, later))
    return folder


def lists_of(world, slates: str, reranker, folder) -> float:
    """NDCG@2 on the test slates, whose rankings are permutations."""
    rerank.run(
        rerank.Config(
            items=world.items,
            slates=slates,
            semantic_ids=world.semantic_ids,
            reranker=str(reranker),
            output_dir=str(folder),
        )
    )
    joined = pl.read_parquet(slates).join(pl.read_parquet(folder / "rankings.parquet"), on="slate_id")
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
    gr2(
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


def test_lists_longer_than_every_train_slate_are_refused(world, later, tmp_path):
    known = {"items": world.items, "slates": later, "semantic_ids": world.semantic_ids}
    with pytest.raises(
        InputError, match="--list_size 13: expected at most 12, the candidates of the longest train slate"
    ):
        fit("glorank", tmp_path / "out", known, list_size=13)
