"""`gr2` in processes of their own that need not import torch, transformers and TRL first: a server has, and forks.

The imports of a training take ten seconds. `tests.helpers.gr2` starts a process as a user does; tests of recipes and
launchers do so, too. Forked processes hash strings alike: a claim that one process ends as another needs one that is
not forked, which may be the tests' own.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from io import StringIO
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from unittest.mock import patch

from gr2 import cli
from gr2.terminal import SILENCE

ROOT = Path(__file__).parents[1]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preload"])


def start(do: Callable, arguments: tuple, out: Path, err: Path, environment: dict[str, str]) -> ForkServerProcess:
    """A process that does `do(*arguments)`; what it says goes to the files `out` and `err`."""
    told = dict(os.environ)
    os.environ.update({name: value for name, value in SILENCE.items() if name not in told})
    with chdir(ROOT):  # where its server finds `tests`
        forkserver.ensure_running()
    os.environ.clear()
    os.environ.update(told)
    process = CONTEXT.Process(target=settle, args=(str(out), str(err), environment, do, arguments))
    process.start()
    return process


def settle(out: str, err: str, environment: dict[str, str], do: Callable, arguments: tuple) -> None:
    for number, name in ((1, out), (2, err)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    do(*arguments)


def start_forked(words: list[str], folder: Path, cwd: Path | None = None) -> ForkServerProcess:
    """A process that does `gr2 WORDS` in `cwd`; what it says goes to `out` and `err` in `folder`."""
    return start(do_gr2, (words, str(cwd or Path.cwd())), folder / "out", folder / "err", dict(os.environ))


def do_gr2(words: list[str], cwd: str) -> None:
    os.chdir(cwd)
    sys.argv = ["gr2", *words]
    cli.main(words)


def forked(*words: str | Path, expect: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """As `tests.helpers.gr2`, in seconds less."""
    with tempfile.TemporaryDirectory() as folder:
        process = start_forked([*map(str, words)], Path(folder), cwd)
        process.join()
        out, err = ((Path(folder) / name).read_text() for name in ("out", "err"))
    assert process.exitcode == expect, f"exit {process.exitcode}\n{out[-2000:]}\n{err[-4000:]}"
    return subprocess.CompletedProcess(["gr2", *words], process.exitcode, out, err)


def run_recipe(*words: str | Path) -> list[str]:
    """`gr2 run WORDS` in this process, its stages in forked ones; the lines that it prints itself."""

    def run_forked(command: list[str]) -> int:
        assert command[:3] == [sys.executable, "-m", "gr2"]
        forked(*command[3:])
        return 0

    with patch("gr2.runner.pipeline.run_in_a_process", run_forked), redirect_stdout(StringIO()) as printed:
        cli.main(["run", *map(str, words)])
    return printed.getvalue().splitlines()
