"""Traces without a teacher: an explanation written from the categories of history and target.

This is OneRec-Think's setting for public data (2510.11639), in GR2's three steps: the pattern in the history, the type
of the next item, and its match among the candidates. Short on purpose (25 to 35 words if items have categories, an ID
counting as one): a student of a million parameters must learn to write it.
"""

import math
from collections import Counter
from collections.abc import Sequence

from gr2.data.catalogue import Catalogue


def explain(history: Sequence[str], target: str, catalogue: Catalogue, weights: dict[str, float]) -> str:
    """Three sentences; deterministic. Cites the target and the latest history items that are like it, up to two.

    `weights` (`category_weights`) rank categories by how much they say, so that in `Books > Novels` the novels count.
    """
    counts = Counter(category for item_id in history for category in categories(item_id, catalogue))

    def by_weight(names: Sequence[str]) -> list[str]:
        return sorted(names, key=lambda name: (-counts[name] * weights[name], name))

    pattern = by_weight([name for name in counts if counts[name] > 1] or list(counts))[:2]
    types = by_weight(categories(target, catalogue))[:2]
    shared = [name for name in types if counts[name]]
    latest = dict.fromkeys(reversed(history))
    alike = [item_id for item_id in latest if set(shared) & set(categories(item_id, catalogue))]
    recent = [catalogue.sid[item_id] for item_id in alike[:2] or history[-1:]]
    first = catalogue.sid[target]

    if not types or not pattern:
        return f"The history ends with {recent[0]}. The next item should go with it. {first} does, so it comes first."
    if shared:
        wish, match = f"The next item is likely {' or '.join(shared)}", f"like {recent[0]}"
    else:
        wish, match = f"The next item may be something new: {' or '.join(types)}", "as nothing before"
    return (
        f"The history leans to {' and '.join(pattern)}, lately {' and '.join(recent)}. {wish}. "
        f"{first} is {' and '.join(types)}, {match}, so it comes first."
    )


def category_weights(catalogue: Catalogue) -> dict[str, float]:
    """log(items / items in the category): what every item is says nothing about a user."""
    counts = Counter(category for item_id in catalogue.item_ids for category in categories(item_id, catalogue))
    return {category: math.log(len(catalogue.item_ids) / count) for category, count in counts.items()}


def categories(item_id: str, catalogue: Catalogue) -> list[str]:
    """The steps of an item's category path, each once."""
    return list(dict.fromkeys(filter(None, catalogue.category[item_id].split(" > "))))
