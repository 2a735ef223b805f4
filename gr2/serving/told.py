"""Features for one request that tells more of its candidates than the catalogue knows: new items, and given values."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from gr2.data.features import Features
from gr2.data.text_matches import TextMatches
from gr2.data.transitions import Transitions
from gr2.files.slates import Slate

Encode = Callable[[list[str]], np.ndarray]  # texts -> float [n, d]


class ToldFeatures(Features):
    """The features of one slate's items, cut out of all items', with new ones that nobody has chosen yet.

    titles: of each new item, its text. A new item has no events; its vector is its text's by `encode`, the encoder that
    made the others, or 0 without one, so that its similarities are 0. given: item -> features instead of these.
    """

    def __init__(
        self,
        whole: Features,
        items: pl.DataFrame,
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
        self.texts = TextMatches(pl.concat([items[rows], describe(titles, items)], how="diagonal"))
        self.transitions = cut_out(whole.transitions, rows, len(new))
        self.given = given

    @staticmethod
    def encode(texts: list[str], whole: Features, encode: Encode | None) -> np.ndarray:
        if not texts or encode is None:
            return np.zeros((len(texts), whole.vectors.shape[1]), whole.vectors.dtype)
        vectors = encode(texts)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(whole.vectors.dtype)

    def compute_block(self, slates: Sequence[Slate], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        sizes, table = super().compute_block(slates, names)
        column = {name: at for at, name in enumerate(names)}
        for row, item_id in enumerate(item_id for slate in slates for item_id in slate.candidates):
            for name, value in self.given.get(item_id, {}).items():
                if name in column:
                    table[row, column[name]] = value
        return sizes, table


def describe(titles: dict[str, str], items: pl.DataFrame) -> pl.DataFrame:
    """Rows for new items; without categories."""
    columns = {"item_id": list(titles), "title": list(titles.values())}
    if "categories" in items.columns:
        columns["categories"] = [[] for _ in titles]
    schema = {name: items.schema[name] for name in columns}
    return pl.DataFrame(columns, schema)


def cut_out(transitions: Transitions, rows: np.ndarray, new: int) -> Transitions:
    """The same counts between these items, and none with `new` ones behind them."""
    part = copy.copy(transitions)
    for name in ("next", "cosine"):
        matrix = vars(transitions)[name][rows][:, rows]
        matrix.resize((len(rows) + new, len(rows) + new))
        setattr(part, name, matrix)
    return part
