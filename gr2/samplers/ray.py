"""Samples on many machines: Ray Data maps batches of requests over workers that hold a vLLM or transformers sampler.

On a cluster (RAY_ADDRESS) every node needs gr2 and sees the model under the same name or path. Ray Data restarts its
workers, which then load the model again, for every round of retries.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from gr2.errors import InputError, ServiceError
from gr2.ray_cluster import start
from gr2.samplers.base import Answered, Request, Sample, Sampler, Take

if TYPE_CHECKING:
    from ray.exceptions import RayError

RESTARTS = 3  # of a worker that dies, by Ray, which would otherwise restart it for ever


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

        ServiceError where a worker fails or dies more than `RESTARTS` times, after the answers so far.
        """
        import ray.data
        from ray.exceptions import RayError

        worker = {"sampler": self.sampler, "model": self.model, "top_p": top_p, "max_tokens": max_tokens}
        while requests := take(sys.maxsize):
            starts = range(0, len(requests), self.batch_size)
            batches = [requests[start : start + self.batch_size] for start in starts]
            answers = ray.data.from_items(
                [{"requests": json.dumps([asdict(request) for request in batch])} for batch in batches],
                override_num_blocks=len(batches),
            ).map_batches(
                Worker,
                fn_constructor_kwargs=worker,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=self.workers),
                num_cpus=0,  # else as many workers as cores would leave none for Ray's other tasks
                num_gpus=self.gpus_per_worker,
                max_restarts=RESTARTS,
                max_task_retries=RESTARTS,
            )
            try:
                for row in answers.iter_rows():
                    yield [(Request(**request), Sample(**sample)) for request, sample in json.loads(row["answers"])]
            except RayError as error:
                raise complaint(error) from None


def complaint(error: "RayError") -> InputError | ServiceError:
    """A worker's complaint about its input, or that it failed: the first line, since Ray adds traces and retries."""
    from ray.exceptions import RayTaskError

    cause = error.cause if isinstance(error, RayTaskError) else error
    lines = str(cause).strip().splitlines() or [""]
    if isinstance(cause, InputError):
        return InputError(lines[0])
    return ServiceError(f"a Ray worker failed: {type(cause).__name__}: {lines[0]}")


class Worker:
    """A Ray worker: loads the model once, then answers one batch of requests a row."""

    def __init__(self, sampler: type[Sampler], model: dict, top_p: float, max_tokens: int):
        self.sampler = sampler(**model)
        self.top_p, self.max_tokens = top_p, max_tokens

    def __call__(self, rows: dict) -> dict:
        return {"answers": [self.answer(json.loads(batch)) for batch in rows["requests"]]}

    def answer(self, batch: list[dict]) -> str:
        requests = [Request(**request) for request in batch]
        answered = self.sampler.answer(requests, top_p=self.top_p, max_tokens=self.max_tokens)
        return json.dumps([(asdict(request), asdict(sample)) for request, sample in answered])
