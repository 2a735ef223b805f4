"""Samples on many machines: Ray maps batches of requests over workers that hold a vLLM or transformers sampler.

Ray restarts its workers, which then load the model again, for every round of retries.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict

from gr2.ray_cluster import answer_tasks, start
from gr2.samplers.base import Answered, Request, Sample, Sampler, Take


class RaySampler(Sampler):
    """`workers` processes, each with `sampler(**model)`; each answers `batch_size` requests at a time."""

    def __init__(self, sampler: type[Sampler], model: dict, batch_size: int, workers: int, gpus_per_worker: float):
        start()
        self.sampler, self.model = sampler, model
        self.batch_size = batch_size
        self.workers = workers
        self.gpus_per_worker = gpus_per_worker

    def stream(self, take: Take, *, top_p: float, max_tokens: int) -> Iterator[Answered]:
        """See `Sampler.stream`; the batches are cut here, so that what is in one does not depend on Ray's scheduling.

        ServiceError as of `answer_tasks`.
        """
        arguments = {"sampler": self.sampler, "model": self.model, "top_p": top_p, "max_tokens": max_tokens}
        while requests := take(sys.maxsize):
            starts = range(0, len(requests), self.batch_size)
            batches = [requests[start : start + self.batch_size] for start in starts]
            tasks = [json.dumps([asdict(request) for request in batch]) for batch in batches]
            for answered in answer_tasks(Worker, arguments, tasks, self.workers, self.gpus_per_worker):
                yield [(Request(**request), Sample(**sample)) for request, sample in json.loads(answered)]


class Worker:
    """Loads the model once, then answers batches of requests."""

    def __init__(self, sampler: type[Sampler], model: dict, top_p: float, max_tokens: int):
        self.sampler = sampler(**model)
        self.top_p, self.max_tokens = top_p, max_tokens

    def answer(self, batch: str) -> str:
        requests = [Request(**request) for request in json.loads(batch)]
        answered = self.sampler.answer(requests, top_p=self.top_p, max_tokens=self.max_tokens)
        return json.dumps([(asdict(request), asdict(sample)) for request, sample in answered])
