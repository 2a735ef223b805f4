"""Lists of different lengths as one array."""

from collections.abc import Sequence

import numpy as np
import polars as pl


def pad(rows: Sequence[Sequence[float]], fill: float) -> np.ndarray:
    """Lists of different lengths -> [n, K], `fill` past each row's end; float or int as `fill` is."""
    return pad_flat([value for row in rows for value in row], np.array([len(row) for row in rows]), fill)


def pad_flat(values: Sequence[float] | np.ndarray, lengths: np.ndarray, fill: float) -> np.ndarray:
    """The same of rows one after the other, of these lengths."""
    padded = np.full((len(lengths), lengths.max(initial=0)), fill)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = values
    return padded


def pad_lists(lists: pl.Series, fill: float) -> np.ndarray:
    """The same of a column of lists, none of them missing or empty."""
    return pad_flat(lists.explode().to_numpy(), lists.list.len().to_numpy(), fill)
