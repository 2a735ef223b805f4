"""The best order that can be known in the synthetic world: by the probability that its source draws from.

See gr2/data/sources/synthetic.py: P(next = i) is proportional to taste[user, genre[i]] * follows[genre[last], genre[i]] *
share[i]. It is the ceiling of any reranker there; the `oracle` knows what was drawn as well.
"""

import re
from pathlib import Path

import numpy as np

from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.record import FILES

FILE = FILES["latent"]
NUMBER = re.compile(r"\d+$")


def score(slates: list[Slate], folder: str | Path) -> list[np.ndarray]:
    """One array of probabilities [K], up to a factor, per slate."""
    from safetensors.numpy import load_file

    latent = load_file(Path(folder) / FILE)
    genre = latent["genre"]
    scores = []
    for slate in slates:
        user, last = row(slate.user_id, latent["taste"]), row(slate.history[-1], genre)
        rows = np.array([row(item_id, genre) for item_id in slate.candidates])
        odds = latent["taste"][user] * latent["follows"][genre[last]]
        scores.append(odds[genre[rows]] * latent["share"][rows])
    return scores


def row(name: str, array: np.ndarray) -> int:
    """`item007` -> 7, the row of a latent array; InputError where it has none."""
    found = NUMBER.search(name)
    if not found or int(found[0]) >= len(array):
        raise InputError(f"reranker latent: expected slates of this folder's synthetic world, found the id '{name}'")
    return int(found[0])
