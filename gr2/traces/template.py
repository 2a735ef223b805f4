"""Traces without a teacher: an explanation written from the categories of history and target.

This is OneRec-Think's setting for public data (2510.11639), in GR2's three steps: the pattern in the history, the type
of the next item, and its match among the candidates. Short on purpose (20 to 45 words, a semantic ID counting as one):
a student of a million parameters must learn to write it, and at 10 candidates the ranking alone costs as much.
"""

import math
from collections import Counter
from collections.abc import Sequence

from gr2.data.catalogue import Catalogue


def category_weights(catalogue: Catalogue) -> dict[str, float]:
    """log(items / items in the category): what every item is says nothing about a user."""
    counts = Counter(category for item_id in catalogue.item_ids for category in categories(item_id, catalogue))
    return {category: math.log(len(catalogue.item_ids) / count) for category, count in counts.items()}


def categories(item_id: str, catalogue: Catalogue) -> list[str]:
    return list(dict.fromkeys(filter(None, catalogue.category[item_id].split(" > "))))


def explain(history: Sequence[str], target: str, catalogue: Catalogue, weights: dict[str, float]) -> str:
    """Three sentences: pattern, next type, match. Deterministic; cites the target and up to two history items."""
    counts = Counter(category for item_id in history for category in categories(item_id, catalogue))
    repeated = {category: count for category, count in counts.items() if count > 1} or counts
    ranked = sorted(repeated, key=lambda category: (-repeated[category] * weights[category], category))
    own = sorted(categories(target, catalogue), key=lambda category: (-counts[category] * weights[category], category))
    shared = [category for category in own if counts[category]][:2]
    alike = [i for i in reversed(history) if set(shared) & set(categories(i, catalogue))][:2]
    sid = catalogue.sid

    pattern = f"The history is mostly {_and(ranked[:2])}" if ranked else "The history is what this user chose"
    recent = _and([sid[item_id] for item_id in alike or history[-1:]])
    next_type = " ".join(shared) if shared else " ".join(own[:2])
    wish = f"The next item is likely {next_type}" if shared else f"The next item may be something new: {next_type}"
    if not own:
        wish = "The next item should go with these"
    match = f"{sid[target]} is {_and(own[:3])}" if own else f"{sid[target]} does"
    link = f", like {recent}" if shared else ""
    return f"{pattern}, lately {recent}. {wish}. {match}{link}, so it comes first."


def _and(words: list[str]) -> str:
    return " and ".join(words)
