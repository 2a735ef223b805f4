"""The engine's process as the server sees it: started, asked, and ended, by blocking calls."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing import Pipe

from gr2.errors import InputError
from gr2.serving.asks import Answer, Ask, Refused
from gr2.serving.settings import Settings

LEAVING = 5.0  # seconds that a process has to end by itself


class BrokenEngineError(Exception):
    """The process died, or has not answered in time."""


class Worker:
    """One process of gr2/serving/engine.py; it is asked one batch at a time."""

    def __init__(self, settings: Settings):
        self.connection, theirs = Pipe()
        threads = {"OMP_NUM_THREADS": str(settings.threads)} if settings.threads else {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gr2.serving.engine", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | threads | {"TQDM_DISABLE": "1"},
        )
        theirs.close()
        self.lock = threading.Lock()
        self.settings, self.version = settings, ""

    def open(self, seconds: float) -> None:
        """Returns when it is ready. InputError where the reranker cannot be opened; BrokenEngineError."""
        answer = self.exchange(self.settings, seconds)
        if isinstance(answer, Refused):
            self.end()
            raise InputError(answer.why)
        self.version = answer.version

    def ask(self, asks: Sequence[Ask], seconds: float) -> list[Answer]:
        return self.exchange(asks, seconds)

    def exchange(self, message: object, seconds: float) -> object:
        """Sends a message and waits for the answer; a process that gives none is ended."""
        with self.lock:
            try:
                self.connection.send(message)
                if self.connection.poll(seconds):
                    return self.connection.recv()
                why = f"no answer in {seconds:g} s"
            except (EOFError, OSError):
                why = "the process ended"
        self.kill()
        raise BrokenEngineError(why)

    def end(self) -> None:
        """After the answer that it is working on."""
        with self.lock:
            self.connection.close()
        try:
            self.process.wait(LEAVING)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()
