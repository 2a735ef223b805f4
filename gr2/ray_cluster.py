"""Ray, for whatever runs on many machines: a local one, or the cluster that RAY_ADDRESS names.

On a cluster every node needs gr2, and sees the files that a worker opens under the same paths.
"""

import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gr2.errors import InputError, ServiceError

if TYPE_CHECKING:
    from ray.exceptions import RayError

RESTARTS = 3  # of a worker that dies, by Ray, which would otherwise restart it for ever


def start() -> None:
    """Takes the cluster of RAY_ADDRESS, or starts Ray on this machine; errors are raised, not printed as well."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError("Ray is not installed: pip install 'gr2[ray]'") from None
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS", "local")
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.raise_original_map_exception = True  # an InputError stays one
    context.use_datasource_v2 = False  # its actors take longer to start than a small catalogue to read
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.CRITICAL)


def answer_tasks(
    worker: type, arguments: dict[str, Any], tasks: list[str], workers: int, gpus_per_worker: float
) -> Iterator[str]:
    """What `worker(**arguments).answer(task)` gives for every task, as it comes; `workers` processes hold a worker.

    A task of a process that dies is given to the one that Ray starts in its place. ServiceError where a worker fails or
    dies more than `RESTARTS` times, after the answers so far.
    """
    start()
    import ray.data
    from ray.exceptions import RayError

    answers = ray.data.from_items([{"task": task} for task in tasks], override_num_blocks=len(tasks)).map_batches(
        Rows,
        fn_constructor_kwargs={"worker": worker, "arguments": arguments},
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=0,  # else as many workers as cores would leave none for Ray's other tasks
        num_gpus=gpus_per_worker,
        max_restarts=RESTARTS,
        max_task_retries=RESTARTS,
    )
    try:
        for row in answers.iter_rows():
            yield row["answer"]
    except RayError as error:
        raise complaint(error) from None


class Rows:
    """A worker as Ray Data calls it: a task is a row."""

    def __init__(self, worker: type, arguments: dict[str, Any]):
        self.worker = worker(**arguments)

    def __call__(self, rows: dict) -> dict:
        return {"answer": [self.worker.answer(task) for task in rows["task"]]}


def complaint(error: "RayError") -> InputError | ServiceError:
    """A worker's complaint about its input, or that it failed: the first line, since Ray adds traces and retries."""
    from ray.exceptions import RayTaskError

    cause = error.cause if isinstance(error, RayTaskError) else error
    lines = str(cause).strip().splitlines() or [""]
    if isinstance(cause, InputError):
        return InputError(lines[0])
    return ServiceError(f"a Ray worker failed: {type(cause).__name__}: {lines[0]}")
