"""The engine's process as the server sees it: started, asked, and ended.

It is asked on the event loop: a thread that waits for it would cost every request two switches between threads.
"""

import asyncio
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Self

from gr2.errors import InputError
from gr2.serving.messages import LENGTH, Answer, EngineRefusal, RankingJob
from gr2.serving.settings import Settings

LEAVING = 5.0  # seconds that a process has to end by itself


class BrokenEngineError(Exception):
    """The process died, or has not answered in time."""


class Worker:
    """One process of gr2/serving/engine.py; it is asked one batch at a time."""

    def __init__(self, process: subprocess.Popen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.process, self.reader, self.writer = process, reader, writer
        self.lock = asyncio.Lock()
        self.version = ""

    @classmethod
    async def start(cls, threads: int | None) -> Self:
        ours, theirs = socket.socketpair()
        limit = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "gr2.serving.engine", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | limit | {"TQDM_DISABLE": "1"},
            )
        return cls(process, *await asyncio.open_connection(sock=ours))

    async def open(self, settings: Settings, seconds: float) -> None:
        """Returns when it is ready. InputError where the reranker cannot be opened; BrokenEngineError."""
        answer = await self.exchange(settings, seconds)
        if isinstance(answer, EngineRefusal):
            await self.end()
            raise InputError(answer.why)
        self.version = answer.version

    async def ask(self, jobs: Sequence[RankingJob], seconds: float) -> list[Answer]:
        return await self.exchange(jobs, seconds)

    async def exchange(self, message: object, seconds: float) -> object:
        """Sends a message and waits for the answer; a process that gives none is killed."""
        data = pickle.dumps(message)
        async with self.lock:
            try:
                async with asyncio.timeout(seconds):
                    self.writer.write(data)
                    (length,) = LENGTH.unpack(await self.reader.readexactly(LENGTH.size))
                    return pickle.loads(await self.reader.readexactly(length))
            except TimeoutError:
                why = f"no answer in {seconds:g} s"
            except (EOFError, OSError):
                why = "the process ended"
        await self.kill()
        raise BrokenEngineError(why)

    async def end(self) -> None:
        """After the answer that it is working on."""
        async with self.lock:
            self.writer.close()
        try:
            await asyncio.to_thread(self.process.wait, LEAVING)
        except subprocess.TimeoutExpired:
            await self.kill()

    async def kill(self) -> None:
        self.process.kill()
        self.writer.close()
        await asyncio.to_thread(self.process.wait)
