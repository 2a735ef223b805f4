"""What users chose together and one after the other, counted over events."""

import numpy as np
import scipy.sparse as sp

REACH = 10  # events after an item that are said to follow it


class Transitions:
    """users, items: int [events], user by user, each user's oldest first; items are rows, of `n_items`."""

    def __init__(self, users: np.ndarray, items: np.ndarray, n_items: int):
        shape = n_items, n_items
        self.next = sp.csr_array(shape)
        for gap in range(1, REACH + 1):
            follows = users[gap:] == users[:-gap]
            before, after = items[:-gap][follows], items[gap:][follows]
            self.next = self.next + sp.csr_array((np.full(len(before), 1 / gap), (before, after)), shape=shape)
        chosen = sp.csr_array((np.ones(len(users)), (users, items)), shape=(int(users.max(initial=0)) + 1, n_items))
        chosen.data[:] = 1.0  # a repeated event counts once
        together = (chosen.T @ chosen).tocoo()
        norms = np.sqrt(np.bincount(chosen.indices, minlength=n_items))
        apart = together.row != together.col
        row, column = together.row[apart], together.col[apart]
        cosine = together.data[apart] / (norms[row] * norms[column])
        self.cosine = sp.csr_array((cosine, (row, column)), shape=shape)

    def followed(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """How often users came to `after` within the next ten events from `before`, each time counted as 1 / how many
        events later: float, of the broadcast shape.
        """
        return look_up(self.next, before, after)

    def together(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Cosine of the sets of users who chose the items; 0 of an item with itself."""
        return look_up(self.cosine, first, second)


def look_up(matrix: sp.csr_array, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    rows, columns = np.broadcast_arrays(rows, columns)
    return np.asarray(matrix[rows.ravel(), columns.ravel()]).reshape(rows.shape)
