"""A teacher's probabilities for every choice of a list: what comes next, given what has been written.

A hard target says that one candidate comes first; a teacher says how much more likely it is than each of the others, so
that a small model learns from far fewer slates. Ours: GR2 (2602.07774) distils a large model's traces alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gr2.choices.spelling import Spelling
from gr2.choices.walk import Node, grow_trie


@dataclass(frozen=True)
class Lesson:
    """A choice that the teacher makes too: the token at `place` of the list, `among` two or more, with their `shares`.

    Shares sum to 1. weight: NDCG's discount of the rank that the choice is about, 1 for the first.
    """

    place: int
    among: list[int]
    shares: list[float]
    weight: float


def plan_lessons(spelling: Spelling, order: Sequence[int], shares: Sequence[float]) -> list[Lesson]:
    """The choices of a list in this order of the candidates.

    shares: one per candidate; if all remaining shares are 0, the remaining candidates count as equal.

    As in Plackett-Luce, candidates that are written are taken out, and the shares of the others are scaled up.
    """
    leaves: list[list[Node]] = []  # of each candidate, its nodes where candidates part, and those right after
    pieces = [item + spelling.between for item in spelling.items]
    root = grow_trie(pieces)
    for tokens in pieces:
        path = [root]
        for token in tokens:
            path.append(path[-1].children[token])
        parts = [len(node.children) > 1 for node in path]
        after = [False, *parts[:-1]]
        leaves.append([node for node, *kept in zip(path, parts, after, strict=True) if any(kept)])
    lessons, written, unused = [], 0, set(order)
    for rank, index in enumerate(order):
        mass: dict[Node, float] = {}
        for other in unused:
            for node in leaves[other]:
                mass[node] = mass.get(node, 0.0) + shares[other] + 1e-9
        for node in leaves[index]:
            ways = [way for way in node.children.values() if way in mass]
            if len(ways) > 1:
                split = [mass[way] / mass[node] for way in ways]
                tokens = [way.token for way in ways]
                lessons.append(Lesson(written + node.depth, tokens, split, 1 / math.log2(rank + 2)))
        written += len(pieces[index])
        unused.remove(index)
    return lessons
