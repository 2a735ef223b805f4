"""From greedy codes, which may collide, to one unique ID per item."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from gr2.errors import InputError


def unique_codes(vectors: np.ndarray, assigned: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """Moves colliding items to other last-level codes so that every ID is unique; deterministic.

    Within each prefix (all levels but the last) that holds a collision, the items take distinct last codes with the
    least total squared distance (exact assignment). GR2 takes a random unused code instead (2602.07774).
    Raises InputError where one prefix holds more items than there are codes.
    """
    result = assigned.copy()
    codes = codebooks.shape[1]
    _, prefix = np.unique(assigned[:, :-1], axis=0, return_inverse=True)
    _, whole, counts = np.unique(assigned, axis=0, return_inverse=True, return_counts=True)
    for group in np.unique(prefix[counts[whole] > 1]):
        rows = np.flatnonzero(prefix == group)
        if len(rows) > codes:
            raise InputError(f"{len(rows)} items share the codes {assigned[rows[0], :-1].tolist()} and cannot be told apart "
                             f"by {codes} last codes; use more codes or levels, or drop items with the same text")  # fmt: skip
        residual = vectors[rows].astype(np.float64)
        for level in range(len(codebooks) - 1):
            residual = residual - codebooks[level][assigned[rows, level]]
        distance = ((residual[:, None, :] - codebooks[-1][None].astype(np.float64)) ** 2).sum(axis=2)
        result[rows, -1] = linear_sum_assignment(distance)[1]
    return result
