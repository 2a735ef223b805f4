"""Positions as a bias feature: what an item is and where it was shown explain a click; ranking is by the first alone.

A model is trained with the position and ranks with one value of it for all candidates (Zinkevich, Rules of Machine
Learning, rule 36; Guo et al. 2019, PAL, RecSys, has the two factors apart). Here the position adds to the log odds of a
click, so whatever the value, the order is that of the rest, and no model ever needs a position to rank. Its form is a
weight times log(position): where the chance to be looked at falls as a power of the position, as in the position-based
model, log odds of rare clicks fall by that power times log(position).
"""

from collections.abc import Sequence

import numpy as np

from gr2.files.slates import Slate


def log_positions(slates: Sequence[Slate]) -> np.ndarray | None:
    """Of all candidates, slate by slate: float [candidates]; None where a slate has no positions."""
    positions = [slate.positions for slate in slates]
    return np.log(np.concatenate(positions)) if all(positions) else None


def fit_logistic(
    x: np.ndarray, clicked: np.ndarray, positions: np.ndarray | None, seed: int
) -> tuple[list[float], dict[str, float]]:
    """Logistic regression: the weights of the standardised features `x` [candidates, n], and where there are positions
    {"position": the weight of their logarithm}, else {}.
    """
    from sklearn.linear_model import LogisticRegression

    columns = x if positions is None else np.column_stack([x, positions])
    weights = LogisticRegression(max_iter=1000, random_state=seed).fit(columns, clicked).coef_[0].tolist()
    return weights[: x.shape[1]], {} if positions is None else {"position": weights[-1]}
