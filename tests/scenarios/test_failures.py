"""A failing machine and an interrupted run: one sentence, and the exit code that the help names."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from gr2.cli import main
from gr2.runner.lock import hold_lock
from tests.helpers import gr2, refused

TOO_LARGE = "raise the limit on the size of files (ulimit -f), and the same command goes on from here"
RERANK_WAITS = """
import sys, time
from gr2 import cli
from gr2.stages import rerank
def waits(config):
    print("waits", flush=True)
    time.sleep(60)
rerank.run = waits
cli.main(sys.argv[1:])
"""


def words(world, folder, **changed):
    options = {"items": world.items, "slates": world.slates, "reranker": "random", "output_dir": folder} | changed
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


def limited(*words, size):
    """`gr2 WORDS` where no file may grow beyond `size` bytes, as on a full disk."""
    return subprocess.run(
        [sys.executable, "-m", "gr2", *words],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def test_a_disk_that_takes_no_more_is_one_sentence(world, tmp_path):
    done = limited("rerank", *words(world, tmp_path / "out"), size=1000)  # the claim does not fit
    assert done.returncode == 1, done.stderr
    assert done.stderr == f"gr2: {tmp_path}/out/stage.json: file too large; {TOO_LARGE}\n"


def test_a_parquet_file_that_does_not_fit_is_one_sentence(world, tmp_path):
    """polars reports it with an exception of its own; the claim stays, and the same command goes on."""
    options = {"source": "synthetic", "users": "300", "synthetic_items": "100", "output_dir": str(tmp_path / "out")}
    command = [word for key, value in options.items() for word in (f"--{key}", value)]
    done = limited("prepare", *command, size=20_000)
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1 and f"file too large; {TOO_LARGE}" in done.stderr
    assert not (tmp_path / "out/manifest.json").exists()
    main(["prepare", *command])
    assert (tmp_path / "out/manifest.json").exists()


def test_weights_that_were_cut_short_are_named(world, tmp_path):
    whole = Path(world.embeddings).read_bytes()
    (tmp_path / "embeddings.safetensors").write_bytes(whole[:-100])
    complaint = refused("sids", "--items", world.items, "--embeddings", tmp_path / "embeddings.safetensors",
                        "--output_dir", tmp_path / "out")  # fmt: skip
    assert complaint.startswith(f"{tmp_path}/embeddings.safetensors: expected a whole safetensors file, but ")
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings.safetensors"]


def test_ctrl_c_is_one_sentence_and_130(world, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", RERANK_WAITS, "rerank", *words(world, out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "waits\n"
    process.send_signal(signal.SIGINT)
    errors = process.communicate()[1]
    assert process.returncode == 130
    assert errors == "gr2: interrupted; the same command goes on from here\n"
    assert [path.name for path in out.iterdir()] == ["stage.json"]


@pytest.mark.parametrize("interrupted", ["both", "gr2 run alone", "gr2 run alone, by a scheduler"])
def test_ctrl_c_in_a_recipe_is_one_sentence_and_130(world, tmp_path, interrupted):
    """A terminal sends the signal to both processes; another program may send it, or SIGTERM, to `gr2 run` alone."""
    out = tmp_path / "run/out"
    options = {"stage": "prepare", "users": 200_000, "synthetic_items": 5000, "source": "synthetic"}  # some minutes
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"folder": str(out.parent), "stages": {"out": options}}))
    process = subprocess.Popen(
        [sys.executable, "-m", "gr2", "run", str(tmp_path / "recipe.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (out / "stage.json").exists() and process.poll() is None:
        time.sleep(0.01)
    if interrupted == "both":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM if "scheduler" in interrupted else signal.SIGINT)
    errors = process.communicate()[1]
    assert process.returncode == 130, errors
    assert errors == "gr2: interrupted; the same command goes on from here\n"
    with hold_lock(out):  # the stage has ended, too
        pass


def test_a_fault_of_gr2_shows_its_traceback(world, tmp_path, monkeypatch):
    from gr2.stages import rerank as stage

    def fails(config):
        raise KeyError("rows")

    monkeypatch.setattr(stage, "run", fails)
    with pytest.raises(KeyError):
        main(["rerank", *words(world, tmp_path / "out")])


@pytest.mark.parametrize("name", ["recipe.yaml", "a folder"])
def test_a_folder_as_a_recipe_is_one_sentence(tmp_path, name):
    (tmp_path / name).mkdir()
    done = gr2("run", tmp_path / name, expect=2)
    assert done.stderr == f"gr2: {tmp_path / name}: expected a YAML file, found a folder\n"


def test_a_manifest_says_how_many_threads_made_it(world, tmp_path):
    gr2("rerank", *words(world, tmp_path / "out"), env=os.environ | {"OMP_NUM_THREADS": "2"})
    assert json.loads((tmp_path / "out/manifest.json").read_text())["threads"] == 2
