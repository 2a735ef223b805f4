"""Features for one request that tells more of its candidates than the catalogue knows: new items, and given values."""

from collections.abc import Callable, Sequence

import numpy as np

from gr2.data.features import Features
from gr2.data.text_matches import Text, TextMatches
from gr2.files.slates import Slate

Encode = Callable[[list[str]], np.ndarray]  # texts -> float [n, d]


class RequestFeatures(Features):
    """The features of one slate's items, cut out of all items', with new ones that nobody has chosen yet.

    texts: of the catalogue's items; titles: of the new ones. A new item has no events; its vector is its title's by
    `encode`, the encoder that made the others, or 0 without one, so that its similarities are 0. given: item ->
    features instead of these.
    """

    def __init__(
        self,
        whole: Features,
        texts: dict[str, Text],
        slate: Slate,
        titles: dict[str, str],
        given: dict[str, dict[str, float]],
        encode: Encode | None,
    ):
        ids = list(dict.fromkeys([*slate.history, *slate.candidates]))
        known = [item_id for item_id in ids if item_id not in titles]
        new = list(titles)
        rows = np.array([whole.row[item_id] for item_id in known])
        nothing = np.zeros(len(new))
        self.row = {item_id: row for row, item_id in enumerate([*known, *new])}
        self.popularity = np.concatenate([whole.popularity[rows], nothing])
        self.recency = np.concatenate([whole.recency[rows], nothing])
        self.vectors = np.concatenate([whole.vectors[rows], self.encode(list(titles.values()), whole, encode)])
        new_texts = [(title, None) for title in titles.values()]
        self.texts = TextMatches([texts[item_id] for item_id in known] + new_texts)
        self.transitions = whole.transitions.among(rows, len(new))
        self.given = given

    @staticmethod
    def encode(texts: list[str], whole: Features, encode: Encode | None) -> np.ndarray:
        if not texts or encode is None:
            return np.zeros((len(texts), whole.vectors.shape[1]), whole.vectors.dtype)
        vectors = encode(texts)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(whole.vectors.dtype)

    def compute_one(self, slate: Slate, names: Sequence[str]) -> np.ndarray:
        table = super().compute_one(slate, names)
        column = {name: at for at, name in enumerate(names)}
        for row, item_id in enumerate(slate.candidates):
            for name, value in self.given.get(item_id, {}).items():
                if name in column:
                    table[row, column[name]] = value
        return table
