"""The two kinds of model: weights, and trees (LightGBM). Both learn the softmax over a slate's candidates.

The loss is the listwise cross-entropy with the labels as shares of their sum, so any labels are fine.
"""

from typing import TYPE_CHECKING

import numpy as np

from gr2.rerankers.fusion.table import Table
from gr2.rerankers.lambdamart import repeatable

if TYPE_CHECKING:
    from lightgbm import Booster

LEAVES, SHRINKAGE = 7, 0.05  # of trees: small ones, for there are few slates


def fit_weights(table: Table, names: tuple[str, ...], shares: np.ndarray, penalty: float) -> dict[str, float]:
    """A weight for each of the columns `names`; the penalty is that of the squares of weights of scaled columns.

    shares: float [candidates], each label over the sum of its slate's.
    """
    from scipy.optimize import minimize

    columns = table.columns(names)
    scale = columns.std(0)
    scale[scale == 0] = 1.0
    columns = columns / scale

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        """With its gradient."""
        odds = table.softmax(columns @ weights)
        surprise = -(shares * np.log(np.maximum(odds, 1e-300))).sum()
        gradient = columns.T @ (odds - shares)
        count = len(table.sizes)
        return surprise / count + penalty / 2 * weights @ weights, gradient / count + penalty * weights

    found = minimize(loss, np.zeros(len(names)), jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return dict(zip(names, (found.x / scale).tolist(), strict=True))


def grow_trees(table: Table, names: tuple[str, ...], shares: np.ndarray, count: int, seed: int) -> "Booster":
    """`count` trees; with fewer, its first ones, the model is that of fewer."""
    import lightgbm

    def gradients(values: np.ndarray, _: lightgbm.Dataset) -> tuple[np.ndarray, np.ndarray]:
        odds = table.softmax(values)
        return odds - shares, odds * (1 - odds)

    options = {
        "objective": gradients,
        "num_leaves": LEAVES,
        "learning_rate": SHRINKAGE,
        **repeatable(seed),
    }
    rows = lightgbm.Dataset(table.columns(names), feature_name=list(names), params={"verbosity": -1})
    return lightgbm.train(options, rows, count)
