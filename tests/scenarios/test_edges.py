"""A disk that takes no more, a wrong path, a launcher of several processes: one sentence and the right exit code."""

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import gr2
from tests.scenarios.launching import COMMAND

GOES_ON = "the same command goes on from here"
ALONE = [
    "unshare",
    "--map-root-user",
    "--mount",
]  # what is mounted is so for this process only, and as long as it lives
LAUNCH = """
import shlex, sys
from gr2.runner.start import run_launched
sys.exit(run_launched(sys.argv[1:]))
"""


def mounted(mount, folder, *words):
    """`gr2 WORDS` where `folder` is mounted in another way."""
    script = f'{mount.format(folder=shlex.quote(str(folder)))} && exec "$@"'
    command = [*ALONE, "sh", "-c", script, "sh", sys.executable, "-m", "gr2", *map(str, words)]
    if subprocess.run([*ALONE, "mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    return subprocess.run(command, capture_output=True, text=True)


def rerank(world, folder, **changed):
    options = {"items": world.items, "slates": world.slates, "reranker": "random", "output_dir": folder} | changed
    return ["rerank", *(word for key, value in options.items() for word in (f"--{key}", value))]


def test_a_full_disk_is_one_sentence_that_names_the_file(world, tmp_path):
    done = mounted("mount -t tmpfs -o size=4k tmpfs {folder}", tmp_path, *rerank(world, tmp_path / "out"))
    full = f"gr2: {tmp_path}/out/stage.json: no space left on device; make room, and {GOES_ON}\n"
    assert (done.returncode, done.stderr) == (1, full)


@pytest.mark.parametrize("size", [24, 36])  # for a table, and for weights
def test_a_library_that_finds_the_disk_full_is_one_sentence(tmp_path, size):
    words = ["prepare", "--source", "synthetic", "--users", "300", "--synthetic_items", "100"]
    mount = f"mount -t tmpfs -o size={size}k tmpfs {{folder}}"
    done = mounted(mount, tmp_path, *words, "--output_dir", tmp_path / "out")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"gr2: {tmp_path}/out/")
    assert done.stderr.endswith(f": no space left on device; make room, and {GOES_ON}\n")


def test_a_checkpoint_that_does_not_fit_is_one_sentence(tmp_path):
    code = "\n".join([
        "import sys, torch",
        "from gr2 import cli",
        "from gr2.errors import name_disk_errors",
        "def save(words):",
        "    with name_disk_errors(sys.argv[1]):",
        "        torch.save(torch.zeros(100_000), sys.argv[1] + '/optimizer.pt')",
        "cli.run = save",
    ])  # fmt: skip
    script = 'mount -t tmpfs -o size=40k tmpfs "$1" && exec "$2" -c "$3" "$1"'
    caught = "try:\n    save([])\nexcept OSError as error:\n    print(error.errno, error.filename)"
    command = [*ALONE, "sh", "-c", script, "sh", str(tmp_path), sys.executable, f"{code}\n{caught}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if "mount" in done.stderr:
        pytest.skip("nothing can be mounted here")
    assert done.stdout == f"28 {tmp_path}\n", done.stderr


def test_a_folder_that_cannot_be_written_to_is_one_sentence(world, tmp_path):
    mount = "mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
    done = mounted(mount, tmp_path, *rerank(world, tmp_path / "out"))
    read_only = f"gr2: {tmp_path}/out: read-only file system; choose a folder that can be written to\n"
    assert (done.returncode, done.stderr) == (1, read_only)


def as_anybody():
    """Even root may then do only what a file's permissions say."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.parametrize("where", ["output", "input"])
def test_a_permission_that_is_missing_is_one_sentence(world, tmp_path, where):
    slates, folder = tmp_path / "slates.parquet", tmp_path / "closed"
    slates.write_bytes(Path(world.slates).read_bytes())
    folder.mkdir(0o500)
    if where == "input":
        slates.chmod(0)
    out = tmp_path / "out" if where == "input" else folder / "out"
    words = [sys.executable, "-m", "gr2", *map(str, rerank(world, out, slates=slates))]
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=as_anybody)
    denied = slates if where == "input" else out
    assert (done.returncode, done.stderr) == (1, f"gr2: {denied}: permission denied\n")
    assert not out.exists()


@pytest.mark.parametrize(("words", "complaint"), [
    (["rerank", "--slates", "{root}/slates"],
     "--slates {root}/slates: expected a file, found a folder; use {root}/slates/slates.parquet"),
    (["rerank", "--slates", "{root}"], "{root}: expected a file, found a folder"),
    (["rerank", "--items", "{root}/prep/items.parquet"],
     "{root}/prep/items.parquet: no such file; `gr2 prepare` makes it"),
    (["rerank", "--output_dir", "{items}"], "--output_dir {items}: expected a folder, but {items} is a file"),
    (["rerank", "--reranker", "{items}"], "--reranker {items}: expected input_order, reversed, random, oracle, "
     "popularity, rarest, or a folder of `gr2 fit`, `gr2 sasrec` or a language model"),
    (["rerank", "--config", "{root}"], "{root}: expected a YAML file, found a folder"),
    (["run", "{root}/"], "{root}: expected a YAML file, found a folder"),
])  # fmt: skip
def test_a_folder_for_a_file_and_the_reverse_is_one_sentence(world, tmp_path, words, complaint):
    names = {"root": str(world.root), "items": world.items}
    others = rerank(world, tmp_path / "out")[1:] if words[0] == "rerank" else []
    done = gr2(words[0], *others, *(word.format(**names) for word in words[1:]), expect=2)
    assert done.stderr == f"gr2: {complaint.format(**names)}\n"
    assert not (tmp_path / "out").exists()


def launch(what, *before, **options):
    """Two processes that do `what` under torchrun."""
    command = [*before, *COMMAND, "-m", "tests.scenarios.one_of_two", what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


BY_GR2 = (sys.executable, "-c", LAUNCH)
REFUSED = "gr2: --items i: expected another\n"


@pytest.mark.parametrize("what", ["refuses", "second refuses"])
def test_of_several_processes_one_speaks_and_its_exit_code_counts(what):
    process = launch(what, *BY_GR2)
    errors = process.communicate()[1]
    assert (process.returncode, errors) == (2, REFUSED)


def test_torchrun_itself_has_the_sentence_in_its_table():
    errors = launch("refuses").communicate()[1]
    assert errors.startswith(REFUSED) and errors.count("expected another") == 2
    assert f"traceback : {REFUSED}" in errors.rpartition("Root Cause")[2]


def test_a_fault_of_gr2_keeps_its_traceback_and_the_launchers_account():
    process = launch("is wrong", *BY_GR2)
    errors = process.communicate()[1]
    assert process.returncode == 1 and errors.count("KeyError: 'a fault of gr2'") == 1 and "Root Cause" in errors


def test_ctrl_c_under_a_launcher_that_begins_with_a_traceback_is_one_sentence_too():
    words = [*BY_GR2, sys.executable, "-c", "import time; print('runs', flush=True); time.sleep(60)"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "runs\n"
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate()[1]
    assert (process.returncode, errors) == (130, f"gr2: interrupted; {GOES_ON}\n")


@pytest.mark.parametrize("to", ["all", "gr2 run alone"])
def test_ctrl_c_under_a_launcher_is_one_sentence_and_130(to):
    process = launch("waits", *BY_GR2, start_new_session=True)
    assert {process.stdout.readline() for _ in range(2)} == {"runs 0\n", "runs 1\n"}
    time.sleep(0.5)
    if to == "all":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    errors = process.communicate()[1]
    assert (process.returncode, errors) == (130, f"gr2: interrupted; {GOES_ON}\n")
