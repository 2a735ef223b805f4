"""The tasks of mid-training, mixed by weight: shares of tokens, kept at every point of the training."""

import itertools
import random
from collections.abc import Callable, Iterator

from gr2.errors import InputError
from gr2.midtrain.packing import Document

TASKS = ("sequential", "persona", "captions", "general")


def read_weights(entries: list[str]) -> dict[str, float]:
    """["sequential=0.7", ...] -> the tasks' weights above 0; InputError if they make no mixture."""
    weights: dict[str, float] = {}
    for entry in entries:
        name, _, value = entry.partition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = -1.0
        if name not in TASKS or not 0 <= weight < float("inf") or name in weights:
            expected = f"TASK=WEIGHT, 0 or more, each at most once of {', '.join(TASKS)}"
            raise InputError(f"--mixture {entry}: expected {expected}")
        weights[name] = weight
    if not weights.get("sequential"):
        given = " ".join(entries)
        raise InputError(f"--mixture {given}: expected sequential=WEIGHT above 0: its passes set the length")
    return {name: weight for name, weight in weights.items() if weight > 0}


def mix(
    passes: dict[str, Callable[[], Iterator[Document]]], weights: dict[str, float], count: int
) -> Iterator[Document]:
    """Documents, always of the task furthest behind its share, until `count` passes over `sequential` are done.

    passes: for each task a function that starts a new pass.
    """
    used = dict.fromkeys(weights, 0)
    streams = {name: repeat(passes[name], count if name == "sequential" else None) for name in weights}
    while True:
        name = min(weights, key=lambda name: used[name] / weights[name])
        document = next(streams[name], None)
        if document is None:
            return
        used[name] += len(document[0])
        yield document


def repeat(start: Callable[[], Iterator[Document]], count: int | None) -> Iterator[Document]:
    """`count` passes, or endless ones (None); an empty pass is the last."""
    for _ in itertools.count() if count is None else range(count):
        document = None
        for document in start():
            yield document
        if document is None:
            return


def shuffle(documents: Iterator, rng: random.Random) -> list:
    documents = list(documents)
    rng.shuffle(documents)
    return documents
