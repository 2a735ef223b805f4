import hashlib
import json
from pathlib import Path

import polars as pl
import pytest

from gr2 import __version__
from gr2.cli import main
from gr2.errors import InputError
from gr2.files.artifacts import write_json, write_text
from gr2.options.words import read_options
from gr2.runner.code_version import code_version
from gr2.runner.current import why_run
from gr2.runner.stage import describe
from gr2.stages import evaluate


def words(world, folder, **changed):
    options = {"items": world.items, "slates": world.slates, "reranker": "random", "output_dir": folder} | changed
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


def rerank(world, folder, **changed):
    main(["rerank", *words(world, folder, **changed)])


def current(world, folder, **changed):
    return why_run("rerank", read_options(words(world, folder, **changed))) == ""


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def copied(source, folder):
    folder.mkdir()
    (folder / Path(source).name).write_bytes(Path(source).read_bytes())
    return folder / Path(source).name


def interrupted(folder):
    """What a killed run leaves: its claim and half of a file, no manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    claim = {key: manifest[key] for key in ("stage", "options", "input_paths", "inputs", "code")}
    for file in folder.iterdir():
        file.unlink()
    (folder / "stage.json").write_text(json.dumps(claim))
    (folder / ".rankings.parquet.17.partial").write_bytes(b"PAR1 half")


def test_a_manifest_says_how_the_output_was_made(world, tmp_path):
    rerank(world, tmp_path, seed=3)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["stage"] == "rerank" and manifest["seed"] == 3
    assert manifest["options"]["seed"] == ["3"]
    assert manifest["config"]["seed"] == 3 and manifest["config"]["split"] == "test"  # defaults too
    assert manifest["inputs"].items() >= {path: sha256(path) for path in (world.items, world.slates)}.items()
    assert manifest["outputs"] == {name: sha256(tmp_path / name) for name in ("rankings.parquet", "timing.json")}
    assert manifest["packages"]["gr2"] == __version__ and {"python", "torch", "polars"} <= set(manifest["packages"])
    assert manifest["code"] == code_version("gr2.stages.rerank") and manifest["processes"] == 1
    assert manifest["hardware"]["cores"] >= 1 and manifest["peak_memory_bytes"] > 10e6
    assert {"command", "git_commit"} <= set(manifest)
    assert sorted(files(tmp_path)) == ["manifest.json", "rankings.parquet", "timing.json"]  # and nothing else


def test_a_manifest_has_the_rates_of_a_training_which_are_no_output(beginner):
    manifest = json.loads((beginner / "manifest.json").read_text())
    rates = json.loads((beginner / "training_rates.json").read_text())
    assert manifest["training_rates"] == rates and rates["steps"] == 1 and rates["tokens"] > 0
    assert "training_log.jsonl" in manifest["outputs"] and "training_rates.json" not in manifest["outputs"]


def test_a_finished_folder_is_current_until_something_differs(world, tmp_path):
    slates = copied(world.slates, tmp_path / "own")
    out = tmp_path / "out"
    assert not current(world, out, slates=slates)
    rerank(world, out, slates=slates)
    assert current(world, out, slates=slates)
    assert not current(world, out, slates=slates, seed=1)
    assert not current(world, out, slates=world.slates)
    assert not current(world, out, slates=slates, reranker="oracle")
    assert why_run("evaluate", read_options(words(world, out, slates=slates))) != ""

    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | {"code": "older"}))
    assert not current(world, out, slates=slates)
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert current(world, out, slates=slates)

    pl.read_parquet(slates).head(50).write_parquet(slates)
    assert not current(world, out, slates=slates)
    slates.unlink()
    assert not current(world, out, slates=slates)


def test_the_evaluator_is_an_input(world, tmp_path):
    """`gr2 fit --evaluator` and `gr2 evaluate --evaluator` read a model's folder; another file in it is a change."""
    (tmp_path / "evaluator").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "evaluator" / name).write_text("{}")
    options = {
        "slates": [world.slates],
        "evaluator": [str(tmp_path / "evaluator")],
        "output_dir": [str(tmp_path / "out")],
    }
    config = evaluate.Config(
        slates=world.slates,
        rankings=["r=r.parquet"],
        evaluator=options["evaluator"][0],
        list_size=3,
        items="i",
        semantic_ids="s",
        output_dir=options["output_dir"][0],
    )
    (tmp_path / "evaluator/model.safetensors").unlink()
    plan = describe("evaluate", options, config)
    assert set(plan["inputs"]) == {world.slates, str(tmp_path / "evaluator/config.json")}
    write_json(tmp_path / "out/manifest.json", plan | {"outputs": {}})
    assert why_run("evaluate", options) == ""
    (tmp_path / "evaluator/more.json").write_text("{}")
    assert why_run("evaluate", options) != ""
    (tmp_path / "evaluator/more.json").unlink()
    assert why_run("evaluate", options) == ""
    (tmp_path / "evaluator/config.json").write_text('{"epochs": 9}')
    assert why_run("evaluate", options) != ""


def test_an_input_that_was_a_name_and_now_is_a_folder_is_a_change(world, tmp_path, monkeypatch):
    """`--model_name_or_path NAME` is a hub id until a folder of that name is there."""
    monkeypatch.chdir(tmp_path)
    options = {"slates": [world.slates], "evaluator": ["own/model"], "output_dir": [str(tmp_path / "out")]}
    config = evaluate.Config(slates=world.slates, rankings=["r=r.parquet"], output_dir=options["output_dir"][0])
    write_json(tmp_path / "out/manifest.json", describe("evaluate", options, config) | {"outputs": {}})
    assert why_run("evaluate", options) == ""
    (tmp_path / "own/model").mkdir(parents=True)
    (tmp_path / "own/model/config.json").write_text("{}")
    assert why_run("evaluate", options) != ""


def test_an_output_that_changed_or_is_gone_is_noticed(world, tmp_path):
    rerank(world, tmp_path)
    whole = (tmp_path / "rankings.parquet").read_bytes()
    (tmp_path / "rankings.parquet").write_bytes(whole + b" ")
    with pytest.raises(InputError, match=r"rankings\.parquet: its sha256.*manifest\.json recorded"):
        current(world, tmp_path)
    (tmp_path / "rankings.parquet").unlink()
    assert not current(world, tmp_path)
    (tmp_path / "rankings.parquet").write_bytes(whole)
    assert current(world, tmp_path)
    (tmp_path / "stage.json").write_text("{}")  # a run has begun to write here again
    assert not current(world, tmp_path)


def test_outputs_in_subfolders_are_checked_too(world, tmp_path, monkeypatch):
    from gr2.stages import rerank as stage

    monkeypatch.setattr(
        stage, "run", lambda config: write_text(Path(config.output_dir) / "nested" / "file.txt", "as made")
    )
    rerank(world, tmp_path)
    assert current(world, tmp_path)
    (tmp_path / "nested" / "file.txt").write_text("changed")
    with pytest.raises(InputError, match=r"nested/file\.txt: its sha256"):
        current(world, tmp_path)


def test_the_table_of_the_users_own_ranker_is_an_input(world, tmp_path):
    latest = pl.read_parquet(world.interactions).group_by("user_id").last()
    table = latest.select("user_id", "position", pl.concat_list("item_id").alias("candidates"))
    table.write_parquet(tmp_path / "top.parquet")
    own_words = ["--items", world.items, "--interactions", world.interactions, "--semantic_ids", world.semantic_ids]
    own_words += ["--pre_ranker", "file", "--top_k", str(tmp_path / "top.parquet"), "--candidates", "1"]
    own_words += ["--output_dir", str(tmp_path / "out")]
    main(["slates", *own_words])
    assert why_run("slates", read_options(own_words)) == ""
    table.head(30).write_parquet(tmp_path / "top.parquet")
    assert why_run("slates", read_options(own_words)) != ""


def test_an_interrupted_stage_starts_again_and_ends_the_same(world, tmp_path):
    rerank(world, tmp_path)
    whole = (tmp_path / "rankings.parquet").read_bytes()
    interrupted(tmp_path)
    assert not current(world, tmp_path)
    rerank(world, tmp_path)
    assert (tmp_path / "rankings.parquet").read_bytes() == whole
    assert current(world, tmp_path)
    assert not list(tmp_path.parent.glob(f"{tmp_path.name}.old-*"))


def test_unfinished_work_of_another_configuration_is_moved_aside(world, tmp_path, capsys):
    out = tmp_path / "out"
    for number, seed in ((1, 1), (3, 2)):  # 2 is the finished work of seed 1
        rerank(world, out, seed=0)
        interrupted(out)
        left = files(out)
        capsys.readouterr()
        rerank(world, out, seed=seed)
        assert files(tmp_path / f"out.old-{number}") == left
        assert "unfinished work of another configuration" in capsys.readouterr().err
        assert sorted(files(out)) == ["manifest.json", "rankings.parquet", "timing.json"]
        assert current(world, out, seed=seed)


def test_an_interrupted_stage_goes_on_where_only_its_speed_is_to_change(world, tmp_path):
    """Answers of a server that were paid for are kept."""
    out = tmp_path / "out"
    rerank(world, out, concurrency=32)
    interrupted(out)
    rerank(world, out, concurrency=2, deadline=5)
    assert not list(tmp_path.glob("out.old-*"))
    assert json.loads((out / "manifest.json").read_text())["options"]["concurrency"] == ["2"]


def fail(*_):
    raise RuntimeError("stands for a kill")


def test_checkpoints_of_another_number_of_processes_are_refused(world, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    rerank(world, out)
    interrupted(out)
    claim = json.loads((out / "stage.json").read_text())
    (out / "stage.json").write_text(json.dumps(claim | {"processes": 8}))
    (out / "checkpoint-300").mkdir()
    left = [file.name for file in out.iterdir()]
    capsys.readouterr()
    refused(world, out)
    expected = "8 processes made its checkpoints, this run has 1; start it on 8, or remove the checkpoints"
    assert expected in capsys.readouterr().err and [file.name for file in out.iterdir()] == left
    (out / "checkpoint-300").rmdir()
    monkeypatch.setattr("gr2.stages.rerank.open_reranker", fail)
    with pytest.raises(RuntimeError):
        rerank(world, out)  # nothing to go on from: from now on one process makes the checkpoints
    assert json.loads((out / "stage.json").read_text())["processes"] == 1
    monkeypatch.undo()
    (out / "checkpoint-100").mkdir()
    rerank(world, out)


def refused(world, folder, **changed):
    with pytest.raises(SystemExit) as stop:
        rerank(world, folder, **changed)
    assert stop.value.code == 2


def test_wrong_input_leaves_nothing_behind(world, tmp_path):
    refused(world, tmp_path / "out", split="nonsense")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("mine")
    refused(world, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_wrong_input_leaves_a_finished_folder_as_it_was(world, tmp_path):
    rerank(world, tmp_path)
    before = files(tmp_path)
    refused(world, tmp_path, split="nonsense")
    assert files(tmp_path) == before
    assert current(world, tmp_path)


def test_wrong_input_leaves_the_unfinished_work_of_another_configuration_as_it_was(world, tmp_path):
    out = tmp_path / "out"
    rerank(world, out)
    interrupted(out)
    left = files(out)
    refused(world, out, split="nonsense")
    assert files(out) == left and list(tmp_path.iterdir()) == [out]


def test_a_stage_that_fails_otherwise_keeps_its_claim(world, tmp_path, monkeypatch):
    """Any other error is not the user's input: what was done so far stays, for the same command to go on from."""
    from gr2.stages import rerank as stage

    def fails(config):
        (Path(config.output_dir) / "answers.partial").write_text("so far")
        raise RuntimeError("a fault of gr2")

    with monkeypatch.context() as patch:
        patch.setattr(stage, "run", fails)
        with pytest.raises(RuntimeError):
            rerank(world, tmp_path)
    assert sorted(files(tmp_path)) == ["answers.partial", "stage.json"]
    rerank(world, tmp_path)
    assert current(world, tmp_path)
