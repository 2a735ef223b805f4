"""Orders that need no training: rankings [item ids] for slates, each a permutation of the candidates."""

import random

from gr2.errors import InputError
from gr2.files.slates import Slate

NAMES = ("input_order", "reversed", "random", "oracle", "popularity", "rarest")


def rank(name: str, slates: list[Slate], popularity: dict[str, int], seed: int) -> list[list[str]]:
    """`oracle` sorts by label: the ceiling. `reversed`, the input order, and `rarest`, `popularity`'s: where these are good, how
    slates were made tells what is relevant. Ties keep the input order.
    """
    rankings = []
    for slate in slates:
        candidates = slate.candidates
        if name == "input_order":
            ranking = list(candidates)
        elif name == "reversed":
            ranking = candidates[::-1]
        elif name == "random":
            ranking = random.Random(f"{seed} {slate.slate_id}").sample(candidates, len(candidates))
        elif name == "oracle":
            if not slate.labels:
                raise InputError(f"reranker oracle: slate '{slate.slate_id}' has no labels")
            label = dict(zip(candidates, slate.labels, strict=True))
            ranking = sorted(candidates, key=lambda item_id: -label[item_id])
        else:
            sign = 1 if name == "rarest" else -1
            ranking = sorted(candidates, key=lambda item_id: sign * popularity.get(item_id, 0))
        rankings.append(ranking)
    return rankings
