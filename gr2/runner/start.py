"""Starts a stage in a process of its own, or in several by way of a launcher, and waits for it."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from gr2 import launched

INTERRUPTED = 130
LAUNCHER = re.compile(r"[WE]\d{4} .*torch/distributed/")  # what torchrun prints once a process has failed


def run_in_a_process(command: list[str]) -> int:
    """Its exit code. Ctrl-C reaches both processes: this one waits until the other has come to its end."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # polars' own waits on, and then loses the exit code
    with subprocess.Popen(command) as process:
        return wait(process, process.wait)


def run_launched(command: list[str]) -> int:
    """The exit code of the process that failed; a launcher would end with 1 whatever that was.

    Once a process has said why it failed, the launcher's account of it, a traceback and a table, is left out.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    held: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "failure.json"
        told = os.environ | {launched.FILE: str(file)}

        def pass_on() -> int:
            for line in process.stderr:
                if held or LAUNCHER.match(line):
                    held.append(line)
                else:
                    print(line, end="", file=sys.stderr, flush=True)
            return process.wait()

        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace", env=told) as process:
            status = wait(process, pass_on)
        if file.exists():
            return json.loads(file.read_text(encoding="utf-8"))["code"]
    if status != INTERRUPTED:
        print("".join(held), end="", file=sys.stderr, flush=True)
    return status


def wait(process: subprocess.Popen, for_end: Callable[[], int]) -> int:
    try:
        return for_end()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # where only this process was sent one
        status = for_end()
        return INTERRUPTED if status == -signal.SIGINT else status
