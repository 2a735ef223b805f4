"""Samples on many machines: Ray Data maps batches of requests over workers that hold a vLLM or transformers sampler.

On a cluster (RAY_ADDRESS) every node needs gr2 and sees the model under the same name or path. Ray Data
restarts its workers, which load the model again, for every round of retries in gr2 traces.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from gr2.errors import InputError, ServiceError
from gr2.samplers.base import Answered, Request, Sample, Sampler, Take, open_sampler

if TYPE_CHECKING:
    from ray.exceptions import RayError

RAY_ENGINES = ("vllm", "transformers")
RESTARTS = 3  # of a worker that dies, by Ray, which would otherwise start it for ever


class RaySampler(Sampler):
    """`workers` processes; each answers `batch_size` requests at a time."""

    def __init__(
        self,
        model: str,
        max_model_len: int | None,
        batch_size: int,
        engine: str,
        workers: int,
        gpus_per_worker: float,
    ):
        from gr2.semantic_ids import shards

        if engine not in RAY_ENGINES:
            raise InputError(f"ray_engine '{engine}': expected one of {', '.join(RAY_ENGINES)}")
        shards.start()
        self.worker = {"engine": engine, "model": model, "max_model_len": max_model_len, "batch_size": batch_size}
        self.batch_size = batch_size
        self.workers = workers
        self.gpus_per_worker = gpus_per_worker

    def stream(self, take: Take, *, top_p: float, max_tokens: int) -> Iterator[Answered]:
        """See `Sampler.stream`; the batches are cut here, so that what is in one does not hang on Ray's scheduling.

        ServiceError where a worker fails or dies more than `RESTARTS` times; what was answered by then has been yielded.
        """
        import ray.data
        from ray.exceptions import RayError

        while requests := take(sys.maxsize):
            batches = [requests[at : at + self.batch_size] for at in range(0, len(requests), self.batch_size)]
            answers = ray.data.from_items(
                [{"requests": json.dumps([asdict(request) for request in batch])} for batch in batches],
                override_num_blocks=len(batches),
            ).map_batches(
                Worker,
                fn_constructor_kwargs=self.worker | {"top_p": top_p, "max_tokens": max_tokens},
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=self.workers),
                num_cpus=0,  # else as many workers as cores would leave none for Ray's other tasks
                num_gpus=self.gpus_per_worker,
                max_restarts=RESTARTS,
                max_task_retries=RESTARTS,
            )
            try:
                for row in answers.iter_rows():
                    yield [(Request(**asked), Sample(**answer)) for asked, answer in json.loads(row["answers"])]
            except RayError as error:
                raise complaint(error) from None


def complaint(error: "RayError") -> InputError | ServiceError:
    """A worker's own complaint about its input, or that it failed: the first line, since Ray adds traces and retries."""
    from ray.exceptions import RayTaskError

    cause = error.cause if isinstance(error, RayTaskError) else error
    lines = str(cause).strip().splitlines() or [""]
    if isinstance(cause, InputError):
        return InputError(lines[0])
    return ServiceError(f"a Ray worker failed: {type(cause).__name__}: {lines[0]}")


class Worker:
    """A Ray worker: loads the model once, then answers one batch of requests a row."""

    def __init__(self, engine: str, model: str, max_model_len: int | None, batch_size: int, **settings):
        self.sampler = open_sampler(engine, model, max_model_len=max_model_len, batch_size=batch_size, progress=False)
        self.settings = settings  # top_p, max_tokens

    def __call__(self, rows: dict) -> dict:
        return {"answers": [self.answer(json.loads(batch)) for batch in rows["requests"]]}

    def answer(self, batch: list[dict]) -> str:
        answered = self.sampler.answer([Request(**request) for request in batch], **self.settings)
        return json.dumps([(asdict(request), asdict(sample)) for request, sample in answered])
