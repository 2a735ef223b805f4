"""A slate as a row of slates.parquet, and the same slate in another order."""

import random
from collections.abc import Sequence

PER_CANDIDATE = ("candidates", "labels", "scores", "facts")  # lists with an entry for each candidate, where not empty


def reordered(slate: dict, order: Sequence[int]) -> dict:
    """The slate with its candidate `order[r]` at rank r; what belongs to a candidate moves with it."""
    moved = {name: [slate[name][at] for at in order] for name in PER_CANDIDATE if slate.get(name)}
    return slate | moved


def shuffled(slate: dict, seed: int, draw: int = 0) -> dict:
    """The slate in random order: the same for the same seed, draw (an epoch, say) and slate_id."""
    order = list(range(len(slate["candidates"])))
    random.Random(f"{seed} {draw} {slate['slate_id']}").shuffle(order)
    return reordered(slate, order)


def sample_slates(slates: list[dict], count: int | None, seed: int) -> list[dict]:
    """`count` of the slates (None: all), drawn at random under the seed, in file order: the first ones are the first users'."""
    if count is None or count >= len(slates):
        return slates
    return [slates[at] for at in sorted(random.Random(seed).sample(range(len(slates)), count))]
