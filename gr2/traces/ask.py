"""Asks a teacher until every slate has its trace, or no try left."""

import time

from gr2.files.partial import PartialFile
from gr2.samplers.base import Request, Sampler
from gr2.terminal import Progress
from gr2.traces.pool import Pool
from gr2.traces.summary import timing
from gr2.traces.teacher import Teacher


def ask(teacher: Teacher, sampler: Sampler, pool: Pool, partial: PartialFile) -> dict:
    """Asks until every slate of the pool is closed; answers are in `partial` as soon as they came. Returns `timing`."""
    before, started = len(pool.rows), time.monotonic()

    def take(room: int) -> list[Request]:
        return [teacher.request(slate, attempt) for slate, attempt in pool.take(room)]

    top_p, max_tokens = teacher.sampling.top_p, teacher.sampling.max_tokens
    progress = Progress("traces", len(pool.slates), "slates", pool.closed)
    for answered in sampler.stream(take, top_p=top_p, max_tokens=max_tokens):
        rows = [teacher.row(*pool.in_flight(request.key), request.messages, sample) for request, sample in answered]
        partial.append(rows)
        for row in rows:
            pool.add(row)
        progress.advance(pool.closed - progress.done)
    return timing(pool.rows[before:], time.monotonic() - started)
