"""The texts of mid-training, as (text, learned) pieces: only pieces marked as learned count in the loss.

Tasks after OneRec-Think (2510.11639) and GR2 (2602.07774): sequential preference (history of IDs -> next ID) and
itemic captioning (ID -> text, and text -> ID).
"""

import random
from collections.abc import Iterator

from gr2.data.catalogue import Catalogue
from gr2.language_model.sequences import HISTORY

Pieces = list[tuple[str, bool]]


def sequential(histories: list[list[str]], catalogue: Catalogue, window: int, rng: random.Random) -> Iterator[Pieces]:
    """Each user's items cut into windows at a random offset; every ID of a window but its first is learned."""
    for history in histories:
        offset = rng.randrange(min(window, len(history)))
        for start in range(-offset, len(history), window):
            first, *rest = [catalogue.sid[item_id] for item_id in history[max(0, start) : start + window]] or [""]
            if rest:
                yield [(HISTORY + first, False), ("".join(rest), True)]


def captions(item_ids: list[str], catalogue: Catalogue) -> Iterator[Pieces]:
    """`ID is "Title", Category > Category.` and back."""
    for item_id in item_ids:
        text = f'"{catalogue.title[item_id]}", {catalogue.category[item_id]}'
        yield [(f"{catalogue.sid[item_id]} is", False), (f" {text}.", True)]
        yield [(f"The item {text} is ", False), (catalogue.sid[item_id], True)]


def one_pass(
    histories: list[list[str]],
    catalogue: Catalogue,
    window: int,
    caption_share: float,
    rng: random.Random,
) -> list[Pieces]:
    """One pass over all histories, and a random share of the captions, shuffled."""
    documents = list(sequential(histories, catalogue, window, rng))
    item_ids = list(catalogue.sid)
    documents += captions(rng.sample(item_ids, round(caption_share * len(item_ids))), catalogue)
    rng.shuffle(documents)
    return documents
