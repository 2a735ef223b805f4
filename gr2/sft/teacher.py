"""A teacher's probabilities for every choice of a list: what comes next, given what has been written.

A hard target says that one candidate comes first; a teacher says how much more likely it is than each of the others, so
that a small model learns from far fewer slates. Ours: GR2 (2602.07774) distils a large model's traces alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from gr2.choices.spelling import Spelling
from gr2.choices.walk import Node, grow_trie
from gr2.errors import InputError
from gr2.files.rankings import read_rankings
from gr2.files.slates import Slate


@dataclass(frozen=True)
class Lesson:
    """A choice that the teacher makes too: the token at `place` of the list, `among` two or more, with their `shares`.

    Shares sum to 1. weight: NDCG's discount of the rank that the choice is about, 1 for the first.
    """

    place: int
    among: list[int]
    shares: list[float]
    weight: float


def read_shares(file: str, slates: Sequence[Slate], temperature: float, label_weight: float) -> list[dict[str, float]]:
    """For each slate the probability that each of its candidates comes first: softmax of `scores` / temperature.

    Slates with labels: (1 - label_weight) of that, and label_weight of the labels as shares of their sum. InputError
    for rankings without scores, or of other slates.
    """
    columns = {name: [vars(slate)[name] for slate in slates] for name in ("slate_id", "candidates")}
    frame = read_rankings(file, pl.DataFrame(columns))
    if "scores" not in frame.columns or frame["scores"].null_count():
        raise InputError(f"{file}: column 'scores': expected a reranker's scores, found none")
    rows = zip(slates, frame["ranking"].to_list(), frame["scores"].to_list(), strict=True)
    return [mix_shares(slate, ranking, scores, temperature, label_weight) for slate, ranking, scores in rows]


def mix_shares(
    slate: Slate, ranking: list[str], scores: list[float], temperature: float, label_weight: float
) -> dict[str, float]:
    logits = np.array(scores) / temperature
    shares = np.exp(logits - logits.max())
    shares = dict(zip(ranking, (shares / shares.sum()).tolist(), strict=True))
    total = sum(slate.labels)
    if not total:
        return shares
    labels = dict(zip(slate.candidates, slate.labels, strict=True))
    return {item: (1 - label_weight) * share + label_weight * labels[item] / total for item, share in shares.items()}


def plan_lessons(spelling: Spelling, order: Sequence[int], shares: Sequence[float]) -> list[Lesson]:
    """The choices of a list in this order of the candidates; shares: each candidate's, above 0 or all left are equal.

    As in Plackett-Luce, candidates that are written are taken out, and the shares of the others are scaled up.
    """
    leaves: list[list[Node]] = []  # of each candidate, its nodes from the root to the leaf
    pieces = [item + spelling.between for item in spelling.items]
    root = grow_trie(pieces)
    for tokens in pieces:
        path = [root]
        for token in tokens:
            path.append(path[-1].children[token])
        leaves.append(path)
    lessons, written, unused = [], 0, set(order)
    for rank, index in enumerate(order):
        mass: dict[Node, float] = {}
        for other in unused:
            for node in leaves[other]:
                mass[node] = mass.get(node, 0.0) + shares[other] + 1e-9
        for node in leaves[index]:
            ways = [way for way in node.children.values() if way in mass]
            if len(ways) > 1:
                own = [mass[way] / mass[node] for way in ways]
                tokens = [way.token for way in ways]
                lessons.append(Lesson(written + node.depth, tokens, own, 1 / math.log2(rank + 2)))
        written += len(pieces[index])
        unused.remove(index)
    return lessons
