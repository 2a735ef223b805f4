"""A pre-ranker on many machines: each of Ray's workers opens it, and lists items for blocks of queries."""

import json
from collections.abc import Callable

import numpy as np

from gr2.ray_cluster import answer_tasks
from gr2.retrieval.lists import block_size
from gr2.retrieval.queries import Queries, Ranker, Top
from gr2.terminal import show_progress

Opener = Callable[[], tuple[Ranker, np.ndarray]]  # the ranker, and `items` of its queries


def draw_lists(opener: Opener, queries: Queries, n_items: int, workers: int, gpus_per_worker: float) -> Top:
    """As `lists.draw_lists`, of the same blocks: what is in one does not depend on the workers."""
    blocks = queries.blocks(block_size(n_items))
    tasks = [
        json.dumps({"number": number, "start": block.start.tolist(), "at": block.at.tolist()})
        for number, block in enumerate(blocks)
    ]
    lists = {}
    answers = answer_tasks(Worker, {"opener": opener}, tasks, workers, gpus_per_worker)
    for answer in map(json.loads, show_progress(answers, "pre-ranking", len(tasks), "blocks")):
        lists[answer["number"]] = np.array(answer["top"], np.int32), np.array(answer["scores"], np.float32)
    tops, scores = zip(*(lists[number] for number in range(len(tasks))), strict=True)
    return np.concatenate(tops), np.concatenate(scores)


class Worker:
    """Opens the pre-ranker once, then answers blocks of queries."""

    def __init__(self, opener: Opener):
        self.rank, self.items = opener()

    def answer(self, block: str) -> str:
        request = json.loads(block)
        top, scores = self.rank(Queries(self.items, np.array(request["start"]), np.array(request["at"])))
        return json.dumps({"number": request["number"], "top": top.tolist(), "scores": scores.tolist()})
