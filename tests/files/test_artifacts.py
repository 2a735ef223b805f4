import os

import pytest

from gr2.errors import InputError
from gr2.files import artifacts


def names(folder):
    return sorted(file.name for file in folder.rglob("*"))


def test_write_whole_makes_the_file_and_its_folders(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    with artifacts.write_whole(target) as aside:
        aside.write_text("whole")
        assert aside.parent == target.parent and not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["file.txt"]


def test_write_whole_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), artifacts.write_whole(tmp_path / "file.txt") as aside:
        aside.write_text("half")
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_write_whole_that_fails_keeps_what_was_there(tmp_path):
    artifacts.write_text(tmp_path / "file.txt", "old")
    with pytest.raises(KeyboardInterrupt), artifacts.write_whole(tmp_path / "file.txt") as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "file.txt").read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_write_whole_where_nothing_was_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), artifacts.write_whole(tmp_path / "file.txt"):
        pass
    assert names(tmp_path) == []


def test_model_files_replace_older_ones_and_config_comes_last(tmp_path, monkeypatch):
    for file in ("config.json", "model.safetensors", "notes.txt"):
        (tmp_path / file).write_text("old")
    order, replace = [], os.replace

    def show_progress(source, target):
        assert not (tmp_path / "config.json").exists()  # at no moment does the folder look like a whole model
        order.append(target.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", show_progress)
    with artifacts.write_model_whole(tmp_path) as aside:
        for file in ("config.json", "model.safetensors", "tokenizer.json"):
            (aside / file).write_text("new")
        assert (tmp_path / "config.json").read_text() == "old"
    assert order[-1] == "config.json" and len(order) == 3
    assert names(tmp_path) == ["config.json", "model.safetensors", "notes.txt", "tokenizer.json"]
    assert (tmp_path / "config.json").read_text() == (tmp_path / "model.safetensors").read_text() == "new"


def test_a_model_that_fails_to_be_saved_leaves_the_old_one(tmp_path):
    (tmp_path / "config.json").write_text("old")
    with pytest.raises(ZeroDivisionError), artifacts.write_model_whole(tmp_path) as aside:
        (aside / "config.json").write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "config.json").read_text() == "old"
    assert artifacts.files_below(tmp_path) == [tmp_path / "config.json"]
    with artifacts.write_model_whole(tmp_path) as aside:
        assert not any(aside.iterdir())  # leftovers of the failure are gone
        (aside / "config.json").write_text("new")
    assert names(tmp_path) == ["config.json"]


def test_files_below_are_the_finished_files(tmp_path):
    kept = ["config.json", "nested/weights.bin", "quality.json"]
    dropped = [
        "manifest.json",
        "training_rates.json",
        "stage.json",
        ".model.partial/config.json",
        "checkpoint-10/model.safetensors",
        "answers.partial",
        ".quality.json.17.partial",
        "nested/checkpoint-3/model.safetensors",
    ]
    for name in kept + dropped:
        artifacts.write_text(tmp_path / ".hidden" / "run" / name, name)
    folder = tmp_path / ".hidden" / "run"  # what the folder itself is called does not matter
    assert [str(file.relative_to(folder)) for file in artifacts.files_below(folder)] == kept
    assert artifacts.files_below(folder / "config.json") == [folder / "config.json"]
    assert artifacts.files_below(tmp_path / "absent") == []


def test_a_file_that_differs_from_its_manifest_is_refused(tmp_path):
    file = tmp_path / "items.parquet"
    file.write_text("as made")
    digest = artifacts.sha256(file)
    artifacts.check_against_manifest(file, "no manifest, no objection")
    artifacts.write_json(tmp_path / "manifest.json", {"outputs": {"items.parquet": digest}})
    artifacts.check_against_manifest(file, digest)
    artifacts.check_against_manifest(tmp_path / "brought.csv", "a file that the stage did not make")
    file.write_text("changed")
    with pytest.raises(InputError, match=r"items\.parquet.*sha256.*manifest\.json.*changed after") as refusal:
        artifacts.check_against_manifest(file, artifacts.sha256(file))
    assert digest[:12] in str(refusal.value)


@pytest.mark.parametrize(("content", "complaint"), [(None, "no such file"), (b"{", "JSON"), (b'{"a": "\xff"}', "JSON")])
def test_json_that_cannot_be_read_is_named(tmp_path, content, complaint):
    file = tmp_path / "blend.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=rf"blend\.json.*{complaint}"):
        artifacts.read_json(file)


def test_json_round_trips(tmp_path):
    value = {"text": "ü‹›", "numbers": [1, 0.1, None, True]}
    artifacts.write_json(tmp_path / "a.json", value)
    assert artifacts.read_json(tmp_path / "a.json") == value
    assert (tmp_path / "a.json").read_bytes().endswith(b"}\n")
