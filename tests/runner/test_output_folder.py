"""Two processes, kills and wrong input at one output folder."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from gr2.cli import main
from gr2.errors import InputError
from gr2.files.artifacts import append_lines
from gr2.runner.lock import hold_lock
from tests.helpers import gr2, refused


def words(world, folder, **changed):
    options = {"items": world.items, "slates": world.slates, "reranker": "random", "output_dir": folder} | changed
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


HOLD = """
import sys, time
from pathlib import Path
from gr2.runner.lock import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder):
    """Another process that holds the folder's lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_on_the_same_folder_is_refused(world, tmp_path):
    out = tmp_path / "out"
    process = holder(out)
    try:
        complaint = refused("rerank", *words(world, out))
        assert (
            complaint
            == f"--output_dir {out}: expected no other process that writes there; wait for it to end, or stop it"
        )
        done = gr2("rerank", *words(world, out), expect=2)
        assert done.stderr == f"gr2: {complaint}\n"
        assert names(out) == [".lock"]
    finally:
        process.kill()
        process.wait()
    main(["rerank", *words(world, out)])  # the lock died with its process
    assert names(out) == ["manifest.json", "rankings.parquet", "timing.json"]


def test_two_processes_that_start_at_once_and_are_killed_leave_work_that_resumes(world, tmp_path):
    """As two `gr2 traces` that a user started by mistake; a teacher's answers are appended to one file."""
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    command = [sys.executable, "-m", "gr2", "rerank"]
    for delay in (0.0, 0.2):
        racing = [
            subprocess.Popen([*command, *words(world, out)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            for _ in range(2)
        ]
        while not out.exists() and any(process.poll() is None for process in racing):
            time.sleep(0.001)
        time.sleep(delay)
        for process in racing:
            process.kill()
            process.wait()
    main(["rerank", *words(world, out)])
    main(["rerank", *words(world, undisturbed)])
    assert names(out) == names(undisturbed)
    assert (out / "rankings.parquet").read_bytes() == (undisturbed / "rankings.parquet").read_bytes()


def test_only_one_of_two_processes_runs(world, tmp_path):
    out = tmp_path / "out"
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    deadline = time.monotonic() + 30
    while sum(process.poll() is not None for process in racing) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    ended = [process for process in racing if process.poll() is not None]
    for process in racing:
        process.kill()
    assert len(ended) == 2
    assert all("expected no other process" in process.communicate()[1] for process in ended)


def answers_then(error):
    """A reranker that stops after it has kept some answers."""

    def run(config):
        append_lines(Path(config.output_dir) / "answers.partial", ['{"slate_id": "a"}'])
        raise error

    return run


def test_answers_that_wrong_input_leaves_go_to_their_own_plan_alone(world, tmp_path, monkeypatch):
    from gr2.stages import rerank as stage

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(stage, "run", answers_then(InputError("http://server: no answer")))
        assert refused("rerank", *words(world, out)) == "http://server: no answer"
    assert names(out) == ["answers.partial", "stage.json"]
    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(stage, "run", lambda config: seen.append(names(Path(config.output_dir))))
        main(["rerank", *words(world, out, reranker="oracle")])
        shutil.rmtree(out)
        (tmp_path / "out.old-1").rename(out)
        main(["rerank", *words(world, out)])
    assert seen == [[".lock", "stage.json"], [".lock", "answers.partial", "stage.json"]]


def test_unfinished_work_of_other_code_is_moved_aside(world, tmp_path, monkeypatch, capsys):
    from gr2.stages import rerank as stage

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(stage, "run", answers_then(RuntimeError("a fault of gr2")))
        with pytest.raises(RuntimeError):
            main(["rerank", *words(world, out)])
    state = json.loads((out / "stage.json").read_text())
    state["code"]["stages/rerank.py"] = "0"
    (out / "stage.json").write_text(json.dumps(state))
    main(["rerank", *words(world, out)])
    assert "held unfinished work of another configuration, code or input" in capsys.readouterr().err
    assert names(tmp_path / "out.old-1") == ["answers.partial", "stage.json"]


def test_finished_work_of_another_configuration_is_moved_aside(world, tmp_path, capsys):
    out = tmp_path / "out"
    main(["rerank", *words(world, out)])
    before = (out / "manifest.json").read_bytes()
    main(["rerank", *words(world, out, seed=1)])
    assert f"{out} held finished work of another configuration; it is now {out}.old-1" in capsys.readouterr().err
    assert (tmp_path / "out.old-1/manifest.json").read_bytes() == before
    main(["rerank", *words(world, out, seed=1)])  # the same again replaces itself
    assert names(tmp_path) == ["out", "out.old-1"]


def test_wrong_input_writes_nothing_even_where_a_stage_wrote_first(world, tmp_path, monkeypatch):
    from gr2.stages import rerank as stage

    def writes_then_checks(config):
        (Path(config.output_dir) / "nested").mkdir()
        (Path(config.output_dir) / "nested/rankings.parquet").write_text("wrong")
        raise InputError("labels: expected numbers")

    slates = tmp_path / "slates.parquet"
    shutil.copy(world.slates, slates)
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    monkeypatch.setattr(stage, "run", writes_then_checks)
    refused("rerank", *words(world, out))
    assert names(out) == ["notes.txt"]
    monkeypatch.undo()
    main(["rerank", *words(world, out, slates=slates)])
    before = {name: (out / name).read_bytes() for name in names(out)}
    pl.read_parquet(slates).head(9).write_parquet(slates)  # the same command, another input
    monkeypatch.setattr(stage, "run", writes_then_checks)
    refused("rerank", *words(world, out, slates=slates))
    assert {name: (out / name).read_bytes() for name in names(out)} == before


def test_work_that_was_moved_aside_for_a_stage_that_is_refused_is_moved_back(world, tmp_path, monkeypatch, capsys):
    from gr2.stages import rerank as stage

    def refuse(config):
        raise InputError("labels: expected numbers")

    out = tmp_path / "out"
    main(["rerank", *words(world, out)])
    before = {name: (out / name).read_bytes() for name in names(out)}
    monkeypatch.setattr(stage, "run", refuse)
    with pytest.raises(SystemExit):
        main(["rerank", *words(world, out, seed=1)])
    assert f"gr2: {out}.old-1 was moved back, {out} is as it was" in capsys.readouterr().err
    assert {name: (out / name).read_bytes() for name in names(out)} == before and names(tmp_path) == ["out"]


def test_an_input_that_changes_while_a_stage_runs_fails_it(world, tmp_path, monkeypatch):
    from gr2.stages import rerank as stage

    slates, out, whole = tmp_path / "slates.parquet", tmp_path / "out", stage.run
    shutil.copy(world.slates, slates)

    def replaced(config):
        whole(config)
        pl.read_parquet(slates).head(20).write_parquet(slates)

    monkeypatch.setattr(stage, "run", replaced)
    assert f"{slates}: changed while rerank ran" in refused("rerank", *words(world, out, slates=slates))
    assert names(out) == ["rankings.parquet", "stage.json", "timing.json"]


def test_an_input_inside_of_the_work_that_would_be_moved_is_refused(world, tmp_path):
    """A ranking that is made from the folder's own slates, into the same folder."""
    out = tmp_path / "out"
    slates = ["--items", world.items, "--interactions", world.interactions, "--semantic_ids", world.semantic_ids,
              "--pre_ranker", "popularity", "--exclude_seen", "false", "--output_dir", str(out)]  # fmt: skip
    main(["slates", *slates])
    before = {name: (out / name).read_bytes() for name in names(out)}
    complaint = refused("rerank", *words(world, out, slates=out / "slates.parquet"))
    assert "this one holds the input" in complaint and "slates.parquet" in complaint
    assert {name: (out / name).read_bytes() for name in names(out)} == before


@pytest.mark.parametrize("content", ["[]", "7", '"text"', "{", '{"outputs": [1]}', '{"outputs": {"a": 1}}', "null", ""])
def test_a_manifest_that_is_none_is_refused(world, tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    assert str(tmp_path / "manifest.json") in refused("rerank", *words(world, tmp_path))
    assert names(tmp_path) == ["manifest.json"]


def test_what_a_kill_left_may_be_a_link(world, tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (elsewhere / "file").write_text("mine")
    (out / ".x.partial").symlink_to(elsewhere)
    (out / ".y.partial").symlink_to(tmp_path / "nowhere")
    main(["rerank", *words(world, out)])
    assert names(out) == ["manifest.json", "rankings.parquet", "timing.json"]
    assert names(elsewhere) == ["file"]


def test_an_output_folder_below_a_file_is_refused(world, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file/deep/er"):
        assert refused("rerank", *words(world, out)) == (
            f"--output_dir {out}: expected a folder, but {tmp_path / 'file'} is a file"
        )
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "mine"


def test_an_output_folder_that_cannot_be_made_is_one_sentence(world):
    done = gr2("rerank", *words(world, "/proc/nothing/can/be/made/here"), expect=1)
    assert len(done.stderr.splitlines()) == 1 and "/proc/nothing" in done.stderr


def test_folders_that_were_made_in_vain_go_again(tmp_path):
    with hold_lock(tmp_path / "a/b/c"):
        assert (tmp_path / "a/b/c/.lock").exists()
    assert names(tmp_path) == []
    (tmp_path / "own").mkdir()
    with hold_lock(tmp_path / "own"):
        pass
    assert names(tmp_path) == ["own"]


def test_every_file_follows_the_umask(world, tmp_path):
    """safetensors writes files that only their owner can read."""
    program = "import os; os.umask(0o027); from gr2.cli import main; import sys; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, "sids", "--items", world.items, "--embeddings", world.embeddings,
         "--levels", "2", "--codes", "8", "--output_dir", str(tmp_path / "out")],
        capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    modes = {path.name: oct(os.stat(path).st_mode & 0o777) for path in (tmp_path / "out").iterdir()}
    assert "quantizer.safetensors" in modes and set(modes.values()) == {"0o640"}
