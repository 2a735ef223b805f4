"""The notebook's way in gives what the commands write."""

import json
from dataclasses import replace

import polars as pl
import pytest

from gr2.api import evaluate, find_inputs, open_reranker, read_slates
from gr2.errors import InputError
from gr2.runner.stage import run_stage
from tests.helpers import fit


def test_five_lines_of_python_measure_what_the_commands_do(world, tmp_path):
    slates = read_slates(world.slates, split="test")
    reranker = open_reranker("popularity", find_inputs(world.root))
    table = evaluate(slates, {"popularity": reranker.rank(slates)}, resamples=200)
    words = ["--items", world.items, "--slates", world.slates]
    run_stage("rerank", [*words, "--interactions", world.interactions, "--reranker", "popularity",
                         "--output_dir", str(tmp_path / "rerank")])  # fmt: skip
    run_stage("evaluate", [*words, "--rankings", f"popularity={tmp_path / 'rerank/rankings.parquet'}",
                           "--resamples", "200", "--output_dir", str(tmp_path / "evaluate")])  # fmt: skip
    metrics = json.loads((tmp_path / "evaluate/metrics.json").read_text())
    row = table.row(by_predicate=pl.col("system") == "popularity", named=True)
    assert row["ndcg@5"] == pytest.approx(metrics["systems"]["popularity"]["ndcg@5"], abs=1e-6)
    assert [row["low"], row["high"]] == metrics["intervals"]["popularity"]["ndcg@5"]
    compared = [c for c in metrics["comparisons"] if c["system"] == "popularity" and c["metric"] == "ndcg@5"]
    assert [row[key] for key in ("delta", "ci_low", "ci_high")] == [
        compared[0][key] for key in ("delta", "ci_low", "ci_high")
    ]


def test_a_reranker_that_was_fitted_on_scores_refuses_a_slate_without(world, tmp_path):
    files = {name: getattr(world, name) for name in ("items", "interactions", "embeddings", "slates")}
    fit("blend", tmp_path / "blend", files)
    slates = read_slates(world.slates, split="test")
    blend = open_reranker(str(tmp_path / "blend"), find_inputs(world.root))
    assert len(blend.rank(slates)) == len(slates)
    bare = [*slates[:2], replace(slates[2], scores=[]), *slates[3:]]
    complaint = f"expected the pre-ranker's score of each candidate .*; slate_id '{slates[2].slate_id}' has none"
    with pytest.raises(InputError, match=complaint):
        blend.rank(bare)
    assert open_reranker("input_order", find_inputs(world.root)).rank(bare), "a rule reads none"


def test_the_inputs_of_a_run_are_found_by_name(world):
    inputs = find_inputs(world.root)
    assert (inputs.items, inputs.semantic_ids) == (world.items, world.semantic_ids)
    assert inputs.embeddings == world.embeddings


def test_a_run_without_items_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected one file of items in its stages' folders, found none; name it: "):
        find_inputs(tmp_path)
    with pytest.raises(InputError, match="nope: no such folder"):
        find_inputs(tmp_path / "nope")
    assert find_inputs(tmp_path, items="mine.parquet").items == "mine.parquet"


def test_rankings_of_other_items_are_refused(world):
    slates = read_slates(world.slates, split="test")
    rankings = open_reranker("input_order", find_inputs(world.root)).rank(slates)
    foreign = replace(rankings[3], ranking=[*rankings[3].ranking[:-1], "nothing"])
    with pytest.raises(
        InputError, match=f"^mine: slate_id '{slates[3].slate_id}': expected an order of its candidates"
    ):
        evaluate(slates, {"mine": [*rankings[:3], foreign, *rankings[4:]]})
