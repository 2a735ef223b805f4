"""Requests wait in a bounded queue and go to the engine in batches; each has a deadline.

An idle engine gets a request at once; while it works, the next batch grows.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from gr2.serving.messages import Answer, RankingJob, fall_back
from gr2.serving.metrics import Metrics
from gr2.serving.settings import BatchLimits
from gr2.serving.supervisor import Supervisor
from gr2.serving.worker import BrokenEngineError

IN_TIME = 0.8  # of the deadline: who would wait longer is sent away at once


class FullQueueError(Exception):
    """As many requests wait as may, or can be answered in time."""


@dataclass(eq=False)
class QueueEntry:
    job: RankingJob
    answer: asyncio.Future


class Batcher:
    def __init__(self, supervisor: Supervisor, batch_limits: BatchLimits, metrics: Metrics):
        self.supervisor, self.batch_limits, self.metrics = supervisor, batch_limits, metrics
        self.queue: deque[QueueEntry] = deque()
        self.grown = asyncio.Event()
        self.batch_seconds = 0.0  # that the engine took for the latest batches

    @property
    def full(self) -> bool:
        """Whether a further request would find no place, or be answered too late; one may always wait."""
        waiting = len(self.queue)
        batches = 2 + waiting // self.batch_limits.size  # the one at work, those that wait, the request's own
        late = batches * self.batch_seconds > IN_TIME * self.batch_limits.deadline
        return waiting >= self.batch_limits.room or (waiting > 0 and late)

    async def answer(self, job: RankingJob) -> Answer:
        """Within the deadline. FullQueueError where there is no room."""
        trouble = self.supervisor.trouble
        if trouble:
            return fall_back(len(job.candidates), *trouble)
        if self.full:
            raise FullQueueError
        waiting = QueueEntry(job, asyncio.get_running_loop().create_future())
        self.queue.append(waiting)
        self.grown.set()
        try:
            async with asyncio.timeout(self.batch_limits.deadline):
                return await waiting.answer
        except TimeoutError:
            return fall_back(len(job.candidates), "deadline", "There was no answer before the deadline.")
        finally:
            if waiting in self.queue:  # nobody is interested any more
                self.queue.remove(waiting)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            while not self.queue:
                self.grown.clear()
                await self.grown.wait()
            await self.send([self.queue.popleft() for _ in range(min(self.batch_limits.size, len(self.queue)))])

    async def send(self, batch: list[QueueEntry]) -> None:
        self.metrics.batches.observe(len(batch))
        started = time.monotonic()
        try:
            answers = await self.supervisor.rank([waiting.job for waiting in batch])
        except BrokenEngineError:
            batch += self.queue  # those that wait would wait for nothing
            self.queue.clear()
            sentence = "The engine failed and is being started again."
            answers = [fall_back(len(waiting.job.candidates), "engine_down", sentence) for waiting in batch]
        else:
            self.batch_seconds = (self.batch_seconds + time.monotonic() - started) / 2
        self.metrics.batch_seconds.observe(time.monotonic() - started)
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)
