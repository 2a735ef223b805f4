"""Any reranker on many machines: each of Ray's workers opens it, and answers batches of slates."""

import json
import math
from collections.abc import Callable, Iterator, Sequence

from gr2.files.rankings import Ranking
from gr2.files.slates import Slate
from gr2.ray_cluster import answer_tasks
from gr2.rerankers.protocol import Reranker, Sampling

BATCH = 1024  # slates that a worker gets at a time: whole batches of all small rerankers, as without Ray


class OnRay:
    """opener: opens the reranker in a worker; sampling: `workers`, and the slates per batch of those that batch."""

    def __init__(self, opener: Callable[[], Reranker], sampling: Sampling):
        self.opener, self.sampling = opener, sampling

    def rank(self, slates: Sequence[Slate]) -> list[Ranking]:
        size = math.lcm(BATCH, self.sampling.batch_size)
        batches = [slates[start : start + size] for start in range(0, len(slates), size)]
        rankings = {
            ranking.slate_id: ranking
            for answered in rank_batches(self.opener, batches, self.sampling)
            for ranking in answered
        }
        return [rankings[slate.slate_id] for slate in slates]


def rank_batches(
    opener: Callable[[], Reranker], batches: Sequence[list[Slate]], sampling: Sampling
) -> Iterator[list[Ranking]]:
    """The rankings of each batch, in the order in which they come; errors as of `answer_tasks`."""
    names = Slate.__dataclass_fields__
    tasks = [json.dumps([{name: vars(slate)[name] for name in names} for slate in batch]) for batch in batches]
    arguments = {"opener": opener}
    for answered in answer_tasks(Worker, arguments, tasks, sampling.workers, sampling.gpus_per_worker):
        yield [Ranking(**row) for row in json.loads(answered)]


class Worker:
    """Opens the reranker once, then ranks batches of slates."""

    def __init__(self, opener: Callable[[], Reranker]):
        self.reranker = opener()

    def answer(self, batch: str) -> str:
        slates = [Slate(**row) for row in json.loads(batch)]
        return json.dumps(list(map(vars, self.reranker.rank(slates))))
