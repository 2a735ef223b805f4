import json
import shutil

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from gr2.evaluation.cost import count_parameters, find_frontier, measure_costs
from gr2.files.artifacts import sha256, write_json

PLAIN = pl.DataFrame({"slate_id": ["s"], "ranking": [["a"]], "valid": [True]})


def stage(folder, name, seconds, content, inputs=(), **config):
    """A finished folder with one file; returns the file."""
    folder.mkdir()
    file = folder / name.partition(":")[2]
    content(file)
    manifest = {"stage": name.partition(":")[0], "seconds": seconds, "config": config, "input_paths": []}
    write_json(folder / "manifest.json", manifest | {"inputs": {str(f): sha256(f) for f in inputs},
                                                     "outputs": {file.name: sha256(file)}})  # fmt: skip
    return file


@pytest.fixture
def ranked(tmp_path):
    """A model of two stages on slates that another one made, and its ranking."""

    def text(file):
        file.write_text(file.parent.name)

    def weights(file):
        save_file({"a": np.zeros((3, 4), np.float32), "b": np.zeros(5, np.float32)}, file)

    prompt = tmp_path / "prompt.yaml"
    prompt.write_text("")
    pre = stage(tmp_path / "pre", "sasrec:m.safetensors", 1000, weights)
    slates = stage(tmp_path / "slates", "slates:slates.parquet", 100, text, [pre])
    traces = stage(tmp_path / "traces", "traces:traces.jsonl", 20, text, [slates, prompt])
    model = stage(tmp_path / "sft", "sft:model.safetensors", 3, weights, [slates, traces])
    made = {"reranker": str(tmp_path / "sft")}
    return stage(tmp_path / "ranked", "rerank:rankings.parquet", 7, text, [slates, model, prompt], **made)


@pytest.mark.parametrize("maker", ["slates", "impressions"])
def test_training_counts_the_stages_of_the_model_but_not_what_all_systems_share(ranked, maker):
    made = ranked.parents[1] / "slates" / "manifest.json"
    write_json(made, json.loads(made.read_text()) | {"stage": maker})
    cost = measure_costs({"mine": [str(ranked)]}, {"mine": [PLAIN]})["mine"]
    root = ranked.parents[1]
    assert cost["stages"] == {str(root / "sft"): 3, str(root / "traces"): 20}
    assert (cost["parameters"], cost["own_seconds"], cost["training_seconds"], cost["whole"]) == (17, 3, 23, True)


@pytest.mark.parametrize("what", ["gone", "made again"])
def test_a_stage_whose_record_is_not_that_of_the_file_makes_the_sum_a_least(ranked, what):
    traces = ranked.parents[1] / "traces"
    if what == "gone":
        (traces / "manifest.json").unlink()
        (traces / "traces.jsonl").unlink()
    else:
        manifest = json.loads((traces / "manifest.json").read_text())
        write_json(traces / "manifest.json", manifest | {"outputs": {"traces.jsonl": "0" * 64}})
    cost = measure_costs({"mine": [str(ranked)]}, {"mine": [PLAIN]})["mine"]
    assert (cost["training_seconds"], cost["whole"]) == (3, False)


def test_times_and_tokens_are_those_of_the_answers_or_of_the_run(ranked):
    times = {"slates": 9, "ms_a_slate": 0.25, "batch_size": 8, "alone": 7, "p50_ms": 1.5, "p99_ms": 2.5}
    write_json(ranked.parent / "timing.json", times)
    timed = PLAIN.with_columns(latency_ms=4.0, prompt_tokens=100, completion_tokens=10)
    slower = PLAIN.with_columns(latency_ms=8.0, prompt_tokens=100, completion_tokens=20)
    costs = measure_costs(
        {"rule": [str(ranked)], "model": [str(ranked)] * 2}, {"rule": [PLAIN], "model": [timed, slower]}
    )
    assert costs["rule"]["ms"] == 0.25 and costs["rule"]["prompt_tokens"] is None
    assert [costs["rule"][name] for name in ("p50_ms", "p99_ms", "batch_size")] == [1.5, 2.5, 8]
    model = costs["model"]
    assert (model["ms"], model["prompt_tokens"], model["completion_tokens"]) == (6, 100, 15)


def test_the_machine_is_named_each_one_once(tmp_path):
    machines = [("a", 1, []), ("b", 2, ["NVIDIA H200, 143771 MiB"]), ("b", 2, ["NVIDIA H200, 143771 MiB"])]
    files = []
    for number, (cpu, threads, gpus) in enumerate(machines):
        manifest = {"stage": "rerank", "config": {"reranker": "random"}, "inputs": {}, "threads": threads}
        write_json(tmp_path / f"{number}/manifest.json", manifest | {"hardware": {"cpu": cpu, "gpus": gpus}})
        files.append(f"{tmp_path}/{number}/rankings.parquet")
    cost = measure_costs({"mine": files}, {"mine": [PLAIN] * 3})["mine"]
    assert cost["hardware"] == "a, 1 thread; b, 2 threads, NVIDIA H200"


def test_a_fusion_costs_what_it_and_its_members_do(ranked, tmp_path):
    def record(file):
        write_json(file.parent / "reranker.json", {"kind": "fusion"})
        known = [{"reranker": member} for member in (*members, "popularity")]
        write_json(file, {"members": known, "weights": {"a": 1, "b": 2, "c": 3}})

    blend = stage(tmp_path / "small", "fit blend:blend.json", 5, lambda file: write_json(file, {"weights": {"a": 1}}))
    members = [str(tmp_path / "sft"), str(blend.parent)]
    files = [tmp_path / "sft" / "model.safetensors", blend]
    fused = stage(tmp_path / "fused", "fit fusion:fusion.json", 11, record, files)
    made = {"reranker": str(tmp_path / "fused")}
    entry = stage(tmp_path / "ranked2", "rerank:rankings.parquet", 1, lambda file: file.write_text(""), [fused], **made)
    cost = measure_costs({"fusion": [str(entry)]}, {"fusion": [PLAIN]})["fusion"]
    assert cost["parameters"] == 3 + 17 + 1
    (tmp_path / "fused" / "trees.txt").write_text("tree\nTree=0\nnum_leaves=3\n")
    assert count_parameters(tmp_path / "fused") == 3 + 5 + 17 + 1
    assert (cost["own_seconds"], cost["training_seconds"], cost["whole"]) == (11, 11 + (3 + 20) + 5, True)
    shutil.rmtree(tmp_path / "small")
    assert not measure_costs({"fusion": [str(entry)]}, {"fusion": [PLAIN]})["fusion"]["whole"]


def test_a_rule_costs_nothing_and_a_file_without_a_manifest_tells_nothing(tmp_path):
    write_json(tmp_path / "manifest.json", {"stage": "rerank", "config": {"reranker": "popularity"}, "inputs": {}})
    files = {"rule": [f"{tmp_path}/rankings.parquet"], "file": [f"{tmp_path}/other/rankings.parquet"]}
    costs = measure_costs(files, {"rule": [PLAIN], "file": [PLAIN]})
    assert costs["rule"]["parameters"] == costs["rule"]["training_seconds"] == 0
    assert costs["file"]["parameters"] is costs["file"]["training_seconds"] is costs["file"]["ms"] is None


def test_parameters_of_a_blend_and_of_trees(tmp_path):
    write_json(tmp_path / "blend.json", {"weights": {"a": 1, "b": 2}, "mean": [], "scale": []})
    assert count_parameters(tmp_path) == 2
    (tmp_path / "trees").mkdir()
    (tmp_path / "trees" / "model.txt").write_text("tree\nTree=0\nnum_leaves=3\n\nTree=1\nnum_leaves=1\n")
    assert count_parameters(tmp_path / "trees") == (2 + 3) + 1
    assert count_parameters("no/such/folder") is None


def test_the_frontier_holds_what_nothing_faster_equals():
    values = {"slow": 0.6, "fast": 0.5, "worse": 0.4, "same": 0.5, "below": 0.2, "untimed": 0.9}
    times = {"slow": 9.0, "fast": 1.0, "worse": 2.0, "same": 3.0, "below": 0.1, "untimed": None}
    costs = {name: {"ms": ms} for name, ms in times.items()}
    assert find_frontier(values, costs, floor=0.3) == ["fast", "slow"]
    assert find_frontier(values, costs, floor=0.6) == []
