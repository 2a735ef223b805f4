"""Every stage writes into a folder that an earlier run left the same as into an empty one."""

import json
from pathlib import Path

import polars as pl
import pytest

from gr2.cli import main
from gr2.stages import FIT, STAGES
from tests.forking import start_forked
from tests.helpers import kill_at

VOLATILE = ("training_log.jsonl", "training_rates.json", "timing.json")  # times


def run(stage, folder, options):
    words = []
    for key, value in options.items():
        words += [f"--{key}", *map(str, value if isinstance(value, list) else [value])]
    main([*stage.split(), *words, "--output_dir", str(folder)])


def contents(folder):
    """Every file's bytes, hidden files too; of a manifest the list of outputs."""
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    made = {name: b"" if file.name in VOLATILE else file.read_bytes() for name, file in files.items()}
    return made | {"manifest.json": sorted(json.loads(files["manifest.json"].read_text())["outputs"])}


def as_into_an_empty_folder(stage, tmp_path, options, earlier):
    """Runs the stage into a folder where `earlier` ran, (stage, options), and into an empty one; compares the two."""
    reused, empty = tmp_path / "reused/out", tmp_path / "empty/out"
    run(earlier[0], reused, earlier[1])
    before = contents(reused)
    run(stage, reused, options)
    run(stage, empty, options)
    assert contents(reused) == contents(empty)
    assert contents(tmp_path / "reused/out.old-1") == before
    assert len(before["manifest.json"]) > 0


def cheap(world):
    """{stage: what ran before, what runs now}: the earlier run has files that the later one lacks, where possible."""
    shuffled = ("rerank", {"items": world.items, "slates": world.slates, "reranker": "random", "shuffles": 2})
    catalogue = {"items": world.items, "interactions": world.interactions}
    embedded = {"items": world.items, "embeddings": world.embeddings, "levels": 2, "codes": 16}
    slates = catalogue | {"semantic_ids": world.semantic_ids, "exclude_seen": False, "pre_ranker": "item_knn"}
    slated = {"items": world.items, "slates": world.slates}
    fit = slated | {"interactions": world.interactions, "embeddings": world.embeddings}
    template = slated | {"semantic_ids": world.semantic_ids, "prompt": "rejection"}
    written = slated | {"semantic_ids": world.semantic_ids, "list_size": 3, "epochs": 1, "hidden_size": 8}
    lists = [("slates", slates | {"depth": 20}), slates | {"pre_ranker": "popularity"}]
    rankings = str(world.root / "ranked/rankings.parquet")
    report = {"slates": world.slates, "rankings": f"best={rankings}", "resamples": 100}
    retrieval = catalogue | {"top_k": f"most={world.root}/ranked/slates/top_k.parquet", "resamples": 100}
    return {
        "prepare": [("prepare", {"source": "synthetic", "users": 60, "synthetic_items": 40}),
                    {"items": world.raw_items, "interactions": world.raw_interactions}],
        "sids": [("sids", embedded), embedded | {"levels": 3, "codes": 8, "seed": 1}],
        "slates": lists,
        "facts": [lists[0], catalogue | {"embeddings": world.embeddings, "slates": world.slates}],
        "template": [("template", template | {"split": "test"}), template],
        "fit blend": [("fit lambdamart", fit), fit],
        "fit lambdamart": [("fit blend", fit), fit],
        "fit prm": [("fit blend", fit), fit | {"epochs": 1, "hidden_size": 8}],
        "fit fusion": [("fit blend", fit), fit | {"members": ["popularity", "input_order"]}],
        "fit one_pass": [("fit blend", fit), fit | {"epochs": 1, "hidden_size": 8, "layers": 1, "vocab_size": 300}],
        **{f"fit {kind}": [("fit blend", fit), written] for kind in ("glorank", "evaluator", "degre", "goalrank")},
        "rerank": [shuffled, slated | {"reranker": "input_order"}],
        "evaluate": [("evaluate", report), report | {"seed": 1}],
        "evaluate-retrieval": [("evaluate", report), retrieval],
    }  # fmt: skip


CHEAP = (
    "prepare",
    "sids",
    "slates",
    "facts",
    "template",
    *(f"fit {kind}" for kind in FIT),
    "rerank",
    "evaluate",
    "evaluate-retrieval",
)
TRAINED = ("midtrain", "sasrec", "sft", "rl", "distil")
# They need packages that may be missing, a teacher, minutes, or files of several stages.
ELSEWHERE = (
    "embed",
    "sids-ablate",
    "embed-shards",
    "assign-shards",
    "traces",
    "impressions",
    "simulate-clicks",
    "promote",
    "export",
)


def test_no_stage_is_forgotten():
    assert sorted([*CHEAP, *TRAINED, *ELSEWHERE]) == sorted(STAGES)


@pytest.mark.parametrize("stage", CHEAP)
def test_a_folder_holds_what_its_last_run_made(world, tmp_path, stage):
    if stage.startswith("evaluate") and not (world.root / "ranked").exists():
        run("rerank", world.root / "ranked", {"items": world.items, "slates": world.slates, "reranker": "oracle"})
        run("slates", world.root / "ranked/slates", cheap(world)["slates"][0][1])
    earlier, options = cheap(world)[stage]
    as_into_an_empty_folder(stage, tmp_path, options, earlier)


def trained(world, beam, midtrained):
    """{stage: options of one step}"""
    short = {"max_steps": 1, "save_strategy": "no", "disable_tqdm": True, "seed": 0}
    catalogue = {"items": world.items, "interactions": world.interactions}
    taught = {
        "items": world.items,
        "semantic_ids": world.semantic_ids,
        "slates": beam.slates,
        "bf16": False,
        "model_name_or_path": midtrained,
        "prompt": "student_no_trace",
    } | short
    sampled = taught | {"per_device_train_batch_size": 16, "max_completion_length": 48}
    return {
        "midtrain": catalogue | short | {"semantic_ids": world.semantic_ids, "hidden_size": 16, "layers": 1, "heads": 2,
                                         "vocab_size": 400, "block_length": 128, "per_device_train_batch_size": 2},
        "sasrec": catalogue | {"hidden_size": 16, "layers": 1, "heads": 2, "length": 16, "num_train_epochs": 2,
                               "exclude_seen": False, "disable_tqdm": True},
        "sft": taught | {"traces": beam.traces, "per_device_train_batch_size": 4},
        # Without structured all answers are unusable, and nothing is learned.
        "rl": sampled | {"num_generations": 8, "structured": True},
        "distil": sampled | {"teacher": midtrained},
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("stage", TRAINED)
def test_a_trained_models_folder_holds_what_its_last_run_made(world, traced, midtrained, tmp_path, stage):
    earlier = ("prepare", {"source": "synthetic", "users": 60, "synthetic_items": 40})
    as_into_an_empty_folder(stage, tmp_path, trained(world, traced, midtrained)[stage], earlier)


def test_the_users_own_file_stays_and_is_no_output(world, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    for _ in range(2):
        run("rerank", out, {"items": world.items, "slates": world.slates, "reranker": "random"})
        assert contents(out)["manifest.json"] == ["rankings.parquet", "timing.json"]
        assert (out / "notes.txt").read_text() == "mine"


def test_the_same_command_replaces_its_own_work(world, tmp_path):
    """Also where it writes fewer files than it did, with an input that changed."""
    options = {
        "items": world.items,
        "interactions": world.interactions,
        "embeddings": world.embeddings,
        "slates": str(tmp_path / "slates.parquet"),
    }
    slates = tmp_path / "slates.parquet"
    slates.write_bytes(Path(world.slates).read_bytes())
    run("fit blend", tmp_path / "out", options)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    (tmp_path / "out/model.txt").write_text("of an older version of gr2")
    manifest["outputs"]["model.txt"] = "0"
    (tmp_path / "out/manifest.json").write_text(json.dumps(manifest))
    run("fit blend", tmp_path / "out", options)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "slates.parquet"]


@pytest.mark.slow
def test_a_killed_rerank_goes_on_to_the_same_answers_shuffled_slates_too(world, beginner, tmp_path):
    options = {
        "items": world.items,
        "semantic_ids": world.semantic_ids,
        "slates": world.slates,
        "reranker": beginner,
        "prompt": "student_no_trace",
        "order": "choices",
        "batch_size": 2,
        "max_tokens": 150,
        "shuffles": 8,
        "shuffled_slates": 30,
        "alone": 3,
    }
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run("rerank", whole, options)
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    process = start_forked(["rerank", *words, "--output_dir", str(killed)], tmp_path)
    partial = killed / "answers.partial"
    kill_at(process, lambda: partial.exists() and partial.read_text().count("\n") > 3)
    assert not (killed / "rankings.parquet").exists()
    kept = partial.read_text().count("slate_id")
    assert 0 < kept < 31 + 30 * 8
    run("rerank", killed, options)
    assert sorted(contents(killed)) == sorted(contents(whole))
    assert contents(killed)["manifest.json"] == ["rankings.parquet", "shuffled.parquet", "timing.json"]
    assert contents(killed)["shuffled.parquet"] == contents(whole)["shuffled.parquet"]
    first, second = (pl.read_parquet(folder / "rankings.parquet").drop("latency_ms") for folder in (whole, killed))
    assert first.equals(second)
    assert json.loads((killed / "timing.json").read_text())["slates"] == 31 + 30 * 8


def test_unfinished_work_without_a_plan_is_not_taken(world, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "checkpoint-7").mkdir(parents=True)
    (out / "answers.partial").write_text("of another model")
    (out / "notes.txt").write_text("mine")
    run("rerank", out, {"items": world.items, "slates": world.slates, "reranker": "random"})
    assert "held unfinished work of an unknown configuration" in capsys.readouterr().err
    names = sorted(path.name for path in out.iterdir())
    assert names == ["manifest.json", "notes.txt", "rankings.parquet", "timing.json"]
    assert sorted(path.name for path in (tmp_path / "out.old-1").iterdir()) == ["answers.partial", "checkpoint-7"]
