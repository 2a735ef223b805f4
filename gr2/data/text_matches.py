"""What the titles and categories of two items have in common."""

import re
from collections.abc import Hashable, Iterable

import numpy as np
import polars as pl
import scipy.sparse as sp

WORD = re.compile(r"\w+")


class TextMatches:
    """Compares items by their rows in `items`: arrays of any shapes that broadcast. Empty texts match nothing."""

    def __init__(self, items: pl.DataFrame):
        titles = [WORD.findall(title.lower()) for title in items["title"]]
        paths = items["categories"] if "categories" in items.columns else [[]] * len(items)
        self.first_word = number(words[0] if words else None for words in titles)
        self.two_words = number(tuple(words[:2]) if len(words) > 1 else None for words in titles)
        self.leaf = number(path[-1] if len(path) else None for path in paths)
        owner = np.repeat(np.arange(len(titles)), [len(set(words)) for words in titles])
        column = number(word for words in titles for word in sorted(set(words)))
        shape = len(titles), int(column.max(initial=0)) + 1
        self.words = sp.csr_array((np.ones(len(owner), np.int32), (owner, column)), shape=shape)
        self.lengths = np.diff(self.words.indptr)

    def overlap(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Titles' common words as a share of the words of both (Jaccard), float; 0 where both are empty."""
        first, second = np.broadcast_arrays(first, second)
        common = self.words[first.ravel()].multiply(self.words[second.ravel()]).sum(1).reshape(first.shape)
        return common / np.maximum(self.lengths[first] + self.lengths[second] - common, 1)


def number(values: Iterable[Hashable | None]) -> np.ndarray:
    """Equal values get equal numbers, from 0; None becomes -1."""
    known: dict[Hashable, int] = {}
    return np.array([-1 if value is None else known.setdefault(value, len(known)) for value in values], dtype=np.int64)


def same(numbers: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether two items' numbers, of `number`, are the same one and known."""
    return (numbers[first] == numbers[second]) & (numbers[first] >= 0)
