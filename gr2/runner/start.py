"""Starts a stage in a process of its own, or in several by way of a launcher, and waits for it."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from gr2 import process_errors
from gr2.errors import GOES_ON

REFUSED, INTERRUPTED = 2, 130
LAUNCHER = re.compile(r"[WE]\d{4} .*torch/distributed/")  # what torchrun prints of a failure or a signal
PATIENCE = 5.0  # seconds in which a launcher that was sent Ctrl-C, too, says so


def handle_signals() -> None:
    """Ctrl-C and SIGTERM, which schedulers send, raise KeyboardInterrupt: then the stage is told, and none is left
    behind to train on.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # polars' handler for SIGINT waits, and loses the exit code
        signal.signal(number, signal.default_int_handler)


def run_in_a_process(command: list[str]) -> int:
    """Its exit code. Ctrl-C reaches both processes: this one waits until the other has come to its end."""
    handle_signals()
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # where only this process was sent one
            status = process.wait()
            return INTERRUPTED if status == -signal.SIGINT else status


def run_launched(command: list[str]) -> int:
    """The exit code of the process that failed; the launcher would end with 1 whatever that was.

    Once a process has said why it failed, the launcher's account of it, a traceback and a table, is left out.
    """
    handle_signals()
    held: list[str] = []
    passed: list[str] = []
    interrupted = False
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "failure.json"
        environment = os.environ | {process_errors.FILE: str(file)}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace", env=environment) as process:
            try:
                pass_on(process, passed, held)
            except KeyboardInterrupt:
                interrupted = True  # a launcher that is sent a second signal leaves its processes alone
                timer = threading.Timer(PATIENCE, lambda: has_stopped(held) or process.send_signal(signal.SIGINT))
                timer.start()
                pass_on(process, passed, held, ours_alone=True)
                timer.cancel()
        failure = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    if interrupted:
        sentence = failure["sentence"] if failure else f"gr2: interrupted; {GOES_ON}"
        if f"{sentence}\n" not in passed:  # a line that was being read when Ctrl-C came is lost
            print(sentence, file=sys.stderr)
        return INTERRUPTED
    if failure:
        return failure["code"]
    print("".join(held), end="", file=sys.stderr, flush=True)
    return process.returncode


def has_stopped(held: list[str]) -> bool:
    """Whether a launcher has said that it got a signal."""
    return any(map(LAUNCHER.search, held))


def pass_on(process: subprocess.Popen, passed: list[str], held: list[str], ours_alone: bool = False) -> None:
    """Prints what the processes say, to their end, and adds it to `passed`; from the launcher's first line on, `held`
    gets what is not gr2's.

    ours_alone: from now on; a launcher that is interrupted may begin with a traceback.
    """
    for line in process.stderr:
        if not line.startswith("gr2: ") and (ours_alone or held or LAUNCHER.search(line)):
            held.append(line)
        else:
            print(line, end="", file=sys.stderr, flush=True)
            passed.append(line)
    process.wait()
