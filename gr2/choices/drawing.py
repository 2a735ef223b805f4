"""How a choice is drawn from log-probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Drawing:
    """How a candidate is chosen: temperature 0 takes the likeliest one; otherwise token by token."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


def draw(log_probs: Sequence[float], drawing: Drawing, random: Random) -> int:
    """The index of the token that is drawn, at a temperature above 0."""
    best = max(log_probs)
    weights = [math.exp((value - best) / drawing.temperature) for value in log_probs]
    if drawing.top_p < 1:
        weights = keep_likeliest(weights, drawing.top_p)
    return random.choices(range(len(weights)), weights)[0]


def keep_likeliest(weights: Sequence[float], top_p: float) -> list[float]:
    """The weights, 0 beyond the fewest likeliest ones that together have `top_p` of their sum."""
    kept, left = [0.0] * len(weights), top_p * sum(weights)
    for index in sorted(range(len(weights)), key=lambda index: -weights[index]):
        if left <= 0:
            break
        kept[index] = weights[index]
        left -= weights[index]
    return kept
