"""What users chose together and one after the other, counted over events."""

from typing import Self

import numpy as np
import scipy.sparse as sp

REACH = 10  # events after an item that are said to follow it


class Transitions:
    """Two numbers of pairs of items: how often users came to the second within the next ten events from the first, each
    time counted as 1 / how many events later; and the cosine of the sets of users who chose them, 0 of an item with
    itself.
    """

    def __init__(self, followed: sp.csr_array, together: sp.csr_array):
        """Both float [items, items]."""
        both = followed + 1j * together  # complex numbers, so that a pair is searched once for both
        both.sort_indices()
        self.starts, self.ends = both.indptr[:-1], both.indptr[1:]
        self.items = np.append(both.indices, -1)  # of each item those with a number, by their rows
        self.values = np.append(both.data, 0)

    @classmethod
    def count(cls, users: np.ndarray, items: np.ndarray, n_items: int) -> Self:
        """users, items: int [events], user by user, each user's oldest first; items are rows, of `n_items`."""
        shape = n_items, n_items
        followed = sp.csr_array(shape)
        for gap in range(1, REACH + 1):
            follows = users[gap:] == users[:-gap]
            before, after = items[:-gap][follows], items[gap:][follows]
            followed = followed + sp.csr_array((np.full(len(before), 1 / gap), (before, after)), shape=shape)
        chosen = sp.csr_array((np.ones(len(users)), (users, items)), shape=(int(users.max(initial=0)) + 1, n_items))
        chosen.data[:] = 1.0  # a repeated event counts once
        together = (chosen.T @ chosen).tocoo()
        norms = np.sqrt(np.bincount(chosen.indices, minlength=n_items))
        apart = together.row != together.col
        row, column = together.row[apart], together.col[apart]
        cosine = together.data[apart] / (norms[row] * norms[column])
        return cls(followed, sp.csr_array((cosine, (row, column)), shape=shape))

    def look_up(self, past: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both numbers from each item of `past` [H] to each of `rows` [K]: two float [K, H].

        By bisection: scipy would read the whole matrix at every look-up.
        """
        starts, ends = self.starts[past], self.ends[past]
        found = [self.items[start:end].searchsorted(rows) for start, end in zip(starts, ends, strict=True)]
        at = np.array(found).T + starts
        known = (at < ends) & (self.items[at] == rows[:, None])
        values = np.where(known, self.values[at], 0)
        return values.real, values.imag

    def among(self, rows: np.ndarray, new: int) -> Self:
        """The same numbers of these items alone, and of `new` ones behind them, which nobody has chosen yet."""
        padded = (np.pad(part.T, (0, new)) for part in self.look_up(rows, rows))
        return type(self)(*map(sp.csr_array, padded))
