"""Lists of different lengths as one array."""

from collections.abc import Sequence

import numpy as np


def pad(rows: Sequence[Sequence[float]], fill: float) -> np.ndarray:
    """Lists of different lengths -> [n, K], `fill` past each row's end; float or int as `fill` is."""
    lengths = np.array([len(row) for row in rows])
    padded = np.full((len(rows), lengths.max(initial=0)), fill)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = [value for row in rows for value in row]
    return padded
