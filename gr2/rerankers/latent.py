"""The best order that can be known in the synthetic world: by the probability that its source draws from.

See gr2/data/sources/synthetic.py: P(next = i) is proportional to taste[user, genre[i]] * follows[genre[last],
genre[i]] * share[i]. It is the ceiling of any reranker there; the `oracle` knows what was drawn as well.
"""

import re
from pathlib import Path
from typing import Self

import numpy as np

from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.protocol import Inputs, Sampling, Scorer
from gr2.rerankers.record import FILES

FILE = FILES["latent"]
NUMBER = re.compile(r"\d+$")


class Latent(Scorer):
    def __init__(self, folder: str | Path):
        from safetensors.numpy import load_file

        self.latent = load_file(Path(folder) / FILE)

    @classmethod
    def open(cls, folder: str, inputs: Inputs, sampling: Sampling) -> Self:
        return cls(folder)

    def scores(self, slates: list[Slate]) -> list[np.ndarray]:
        return [self.odds(slate) for slate in slates]

    def odds(self, slate: Slate) -> np.ndarray:
        """The candidates' probabilities [K], up to a factor."""
        genre, taste = self.latent["genre"], self.latent["taste"]
        user, last = row_of(slate.user_id, taste), row_of(slate.history[-1], genre)
        rows = np.array([row_of(item_id, genre) for item_id in slate.candidates])
        odds = taste[user] * self.latent["follows"][genre[last]]
        return odds[genre[rows]] * self.latent["share"][rows]


def row_of(name: str, array: np.ndarray) -> int:
    """`item007` -> 7, the row of a latent array; InputError where it has none."""
    number = NUMBER.search(name)
    if not number or int(number[0]) >= len(array):
        raise InputError(f"--reranker latent: expected slates of this folder's synthetic world, found the id '{name}'")
    return int(number[0])
