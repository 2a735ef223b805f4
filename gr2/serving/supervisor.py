"""Keeps an engine running: starts it again when it hangs or dies, and exchanges it for a new one."""

import asyncio
import time
from collections.abc import Sequence

from gr2.errors import InputError
from gr2.serving import logs
from gr2.serving.messages import Answer, RankingJob
from gr2.serving.metrics import Metrics
from gr2.serving.settings import Settings, Timeouts
from gr2.serving.worker import BrokenEngineError, Worker

WATCHING = 0.2  # seconds between two looks at the process
LONGEST_PAUSE = 30.0  # seconds between two attempts to start an engine


class Supervisor:
    """`worker` is the engine that is asked now, or None while there is none."""

    def __init__(self, settings: Settings, timeouts: Timeouts, metrics: Metrics):
        self.settings, self.timeouts, self.metrics = settings, timeouts, metrics
        self.worker: Worker | None = None
        self.next: Worker | None = None  # that is being opened
        self.version = ""
        self.began: float | None = None  # when the engine got the batch that it is working on
        self.opening = asyncio.Lock()
        self.tasks: set[asyncio.Task] = set()

    @property
    def trouble(self) -> tuple[str, str] | None:
        """Why the engine cannot be asked now: a reason and a sentence."""
        if self.worker is None:
            return "engine_down", "The engine is being started."
        if self.began is not None and time.monotonic() - self.began > self.timeouts.late:
            return "engine_late", "The engine has not answered for longer than the deadline."
        return None

    async def start(self) -> None:
        """InputError, BrokenEngineError: the first engine must open."""
        await self.install(await self.open())

    async def open(self) -> Worker:
        self.next = worker = await Worker.start(self.settings.threads)
        await worker.open(self.settings, self.timeouts.opening)
        self.next = None
        return worker

    async def install(self, worker: Worker) -> None:
        """The new engine gets the next batch; the old one ends after the batch that it has."""
        old, self.worker, self.version = self.worker, worker, worker.version
        self.metrics.set_model(worker.version)
        logs.write("engine_ready", model=worker.version, pid=worker.process.pid)
        if old:
            await old.end()

    async def reload(self) -> str:
        """The version of the engine that is opened again from the same folder. InputError, BrokenEngineError: the old
        one stays.
        """
        async with self.opening:
            await self.install(await self.open())
        return self.version

    async def rank(self, jobs: Sequence[RankingJob]) -> list[Answer]:
        """BrokenEngineError where the engine fails; another one is then being started."""
        worker = self.worker
        if worker is None:
            raise BrokenEngineError("there is no engine")
        self.began = time.monotonic()
        try:
            answers = await worker.ask(jobs, self.timeouts.batch)
            return [answer._replace(model=worker.version) for answer in answers]
        except BrokenEngineError as error:
            self.give_up(worker, str(error))
            raise
        finally:
            self.began = None

    def give_up(self, worker: Worker, why: str) -> None:
        """Another engine is started instead of a broken one."""
        if self.worker is worker:
            logs.write("engine_broken", "error", why=why, pid=worker.process.pid)
            self.worker = None
            self.keep(asyncio.create_task(self.restart()))

    async def watch(self) -> None:
        """Notices an engine that dies while nobody asks it. Until it is cancelled."""
        while True:
            await asyncio.sleep(WATCHING)
            if self.worker and self.worker.process.poll() is not None:
                self.give_up(self.worker, "the process ended")

    def keep(self, task: asyncio.Task) -> None:
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def restart(self) -> None:
        """Until an engine is ready, with longer and longer pauses."""
        pause = 0.5
        async with self.opening:
            while self.worker is None:
                self.metrics.restarts.inc()
                try:
                    await self.install(await self.open())
                except (InputError, BrokenEngineError, OSError) as error:
                    logs.write("engine_not_opened", "error", why=str(error), again_in=pause)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.next:
            await self.next.kill()
        if self.worker:
            await self.worker.end()
