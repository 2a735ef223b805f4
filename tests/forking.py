"""`gr2` in processes of their own that need not import torch, transformers and TRL first: a server has, and forks.

The imports of a training take ten seconds. `tests.helpers.gr2` starts a process as a user does: every command has a
test with it, and so has every claim that one process ends as another, because forked ones hash strings alike.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from gr2.terminal import SILENCE

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "torch",
        "transformers.trainer",
        "transformers.models.qwen3.modeling_qwen3",
        "peft",
        "trl.trainer.sft_trainer",
        "trl.trainer.grpo_trainer",
    ]
)


def start_forked(words: list[str], folder: Path, cwd: Path | None = None) -> ForkServerProcess:
    """A process that does `gr2 WORDS` in `cwd`; what it says goes to `out` and `err` in `folder`."""
    told = dict(os.environ)
    os.environ.update({name: value for name, value in SILENCE.items() if name not in told})
    forkserver.ensure_running()
    os.environ.clear()
    os.environ.update(told)
    process = CONTEXT.Process(target=do_gr2, args=(words, str(cwd or Path.cwd()), told, str(folder)))
    process.start()
    return process


def do_gr2(words: list[str], cwd: str, environment: dict[str, str], folder: str) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = ["gr2", *words]
    from gr2.cli import main

    main(words)


def forked(*words: str | Path, expect: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """As `tests.helpers.gr2`, in seconds less."""
    with tempfile.TemporaryDirectory() as folder:
        process = start_forked([*map(str, words)], Path(folder), cwd)
        process.join()
        out, err = ((Path(folder) / name).read_text() for name in ("out", "err"))
    assert process.exitcode == expect, f"exit {process.exitcode}\n{out[-2000:]}\n{err[-4000:]}"
    return subprocess.CompletedProcess(["gr2", *words], process.exitcode, out, err)
