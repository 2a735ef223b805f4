"""Asks a reranker about many slates in little memory, and about single ones against the clock."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import polars as pl

from gr2.errors import InputError
from gr2.files.rankings import Ranking, tabulate
from gr2.files.slates import Slate
from gr2.rerankers.language_model import LanguageModel
from gr2.rerankers.protocol import Reranker

ALONE_SECONDS = 10  # no further slate is asked alone after this time


def rank_blocks(reranker: Reranker, blocks: Iterable[list[Slate]], name: str) -> tuple[pl.DataFrame, float]:
    """All rankings as `tabulate` gives them, and the seconds that they took. InputError for a ranking that is no order
    of its slate's candidates.
    """
    tables, seconds = [], 0.0
    for block in blocks:
        started = time.monotonic()
        answers = reranker.rank(block)
        seconds += time.monotonic() - started
        for slate, ranking in zip(block, answers, strict=True):
            if ranking.slate_id != slate.slate_id or sorted(ranking.ranking) != sorted(slate.candidates):
                where = f"reranker {name}: slate_id '{slate.slate_id}'"
                raise InputError(f"{where}: expected an order of its candidates, found {ranking.ranking}")
        tables.append(tabulate(answers))
    return pl.concat(tables, rechunk=True), seconds


def in_blocks(slates: Iterable[Slate], size: int) -> Iterator[list[Slate]]:
    """Lists of `size` slates; the last may be shorter."""
    slates = iter(slates)
    while block := list(islice(slates, size)):
        yield block


def time_alone(reranker: Reranker, slates: Sequence[Slate]) -> list[float]:
    """Milliseconds that slates take that are asked one at a time, after one that warms up; fewer than the slates, or
    none, where they take long.
    """
    ask: Callable[[list[Slate]], list[Ranking]] = reranker.rank
    if isinstance(reranker, LanguageModel):  # whose `rank` keeps answers of a run that is interrupted
        slates, ask = reranker.shorten(slates), reranker.answer
    waits, end = [], time.monotonic() + ALONE_SECONDS
    for slate in [slates[0], *slates]:
        if time.monotonic() > end:
            break
        started = time.perf_counter()
        ask([slate])
        waits.append(1000 * (time.perf_counter() - started))
    return waits[1:]
