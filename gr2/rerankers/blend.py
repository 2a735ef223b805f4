"""Logistic blend of a candidate's features (gr2/data/features.py): small, and hard to beat."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gr2.data.features import Features, check_names, find_names
from gr2.errors import InputError
from gr2.files.artifacts import read_json, write_json
from gr2.files.slates import Slate
from gr2.rerankers.position_bias import fit_logistic, log_positions
from gr2.rerankers.protocol import FeatureScorer
from gr2.rerankers.record import FILES

FILE = FILES["blend"]


class Blend(FeatureScorer):
    def __init__(self, folder: str | Path, features: Features):
        """InputError for a file that `train_blend` of these features did not write."""
        path = Path(folder) / FILE
        model = read_json(path)
        self.features = features
        try:
            self.names = tuple(model["weights"])
            self.weights = np.array(list(model["weights"].values()), dtype=float)
            self.mean = np.array(model["mean"], dtype=float).reshape(len(self.names))
            self.scale = np.array(model["scale"], dtype=float).reshape(len(self.names))
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{path}: expected weights, mean and scale of features; run `gr2 fit` again") from None
        check_names(self.names, path)

    def scores(self, slates: list[Slate]) -> list[np.ndarray]:
        return [(rows - self.mean) / self.scale @ self.weights for rows in self.features.compute(slates, self.names)]


def train_blend(slates: Sequence[Slate], features: Features, folder: str | Path, seed: int) -> dict[str, float]:
    """Logistic regression on standardised features, one row per candidate; writes and returns weights by name.

    Of slates with positions also `position`, which is not ranked with (see `position_bias`). InputError where every
    candidate of every slate is relevant: there is nothing to tell apart.
    """
    names = find_names(slates)
    x = features.table(slates, names)
    y = np.concatenate([np.array(slate.labels) > 0 for slate in slates])
    if y.all():
        raise InputError("fit blend: expected a train slate with a candidate that is not relevant, found none")
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
    x -= mean
    x /= scale
    coefficients, bias = fit_logistic(x, y, log_positions(slates), seed)
    weights = dict(zip(names, coefficients, strict=True))
    write_json(Path(folder) / FILE, {"weights": weights, "mean": mean.tolist(), "scale": scale.tolist(), **bias})
    return weights | bias
