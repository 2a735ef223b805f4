"""What the titles and categories of two items have in common."""

import re
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import polars as pl

WORD = re.compile(r"\w+")
Text = tuple[str, str | None]  # an item's title, and the last of its categories


class TextMatches:
    """Compares K items with H others by their rows in `texts`: int [K] and [H]. Empty texts match nothing."""

    def __init__(self, texts: Sequence[Text]):
        titles = [WORD.findall(title.lower()) for title, _ in texts]
        first_word = number(words[0] if words else None for words in titles)
        two_words = number(tuple(words[:2]) if len(words) > 1 else None for words in titles)
        leaf = number(leaf for _, leaf in texts)
        self.numbers = np.stack([first_word, two_words, leaf]).astype(np.int32)
        distinct = [sorted(set(words)) for words in titles]
        self.words = number(word for words in distinct for word in words)  # of all items, one after the other
        self.lengths = np.array([len(words) for words in distinct], dtype=np.int64)
        self.starts = self.lengths.cumsum() - self.lengths

    def same(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether the first words, the first two words and the last categories are the same: bool [3, K, H]."""
        one, other = self.numbers[:, first, None], self.numbers[:, None, second]
        return (one == other) & (one >= 0)

    def overlap(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Titles' common words as a share of the words of both (Jaccard), float [K, H]; 0 where both are empty."""
        rows, count = np.concatenate([first, second]), len(first)
        lengths = self.lengths[rows]
        owner = np.repeat(np.arange(len(rows)), lengths)
        before = np.repeat(lengths.cumsum() - lengths - self.starts[rows], lengths)
        words, column = np.unique(self.words[np.arange(len(owner)) - before], return_inverse=True)
        has = np.zeros((len(rows), len(words)), np.float32)
        has[owner, column] = 1
        common = (has[:count] @ has[count:].T).astype(float)
        return common / np.maximum(lengths[:count, None] + lengths[count:] - common, 1)


def read_texts(items: pl.DataFrame) -> list[Text]:
    """Of each item; `items` has `title`, and may have `categories`."""
    paths = items["categories"].to_list() if "categories" in items.columns else [[]] * len(items)
    return [(title, path[-1] if path else None) for title, path in zip(items["title"], paths, strict=True)]


def number(values: Iterable[Hashable | None]) -> np.ndarray:
    """Equal values get equal numbers, from 0; None becomes -1."""
    known: dict[Hashable, int] = {}
    return np.array([-1 if value is None else known.setdefault(value, len(known)) for value in values], dtype=np.int64)
