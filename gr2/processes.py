"""Work on the CPU that is spread over all cores, where one Python process would keep a GPU waiting."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gr2.terminal import show_progress

CHUNK = 500  # items a process takes at a time
_work: Callable[[Sequence], Any]


def map_chunks(work: Callable[[Sequence], Any], items: Sequence, description: str) -> Iterator[Any]:
    """`work(chunk)` for every chunk of `items`, in order, on all cores this process may use.

    Processes are forked, so `work` may be a closure over a tokenizer or a catalogue; only what it returns is pickled.
    It must not use polars or a GPU: neither survives a fork.
    """
    global _work
    _work = work
    starts = range(0, len(items), CHUNK)
    processes = min(len(os.sched_getaffinity(0)), len(starts))
    chunks = (items[start : start + CHUNK] for start in starts)
    if processes < 2:
        yield from show_progress(map(work, chunks), description, len(starts), "chunks")
        return
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from show_progress(pool.imap(_call, chunks), description, len(starts), "chunks")


def _call(chunk: Sequence) -> Any:
    return _work(chunk)
