"""LambdaMART (Burges 2010, MSR-TR-2010-82) on the blend's features: boosted trees by the changes of NDCG.

LightGBM's `lambdarank` with its defaults. Its labels are whole numbers: here the ranks of the distinct labels, from 0,
and the label itself is what LightGBM gains by a rank. So any labels are fine, and its NDCG is that of gr2/metrics.py.
Of slates with positions it learns what the positions do not explain (gr2/rerankers/position_bias.py).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gr2.data.features import Features, check_names, find_names
from gr2.errors import InputError
from gr2.files.artifacts import write_text
from gr2.files.slates import Slate
from gr2.metrics import rank_ndcg
from gr2.rerankers.position_bias import fit_logistic, log_positions
from gr2.rerankers.protocol import FeatureScorer
from gr2.rerankers.record import FILES

FILE = FILES["lambdamart"]  # LightGBM's own text
SHRINKAGE, TREES, PATIENCE = 0.05, 2000, 50  # PATIENCE: trees without a better NDCG on the valid slates


class LambdaMART(FeatureScorer):
    def __init__(self, folder: str | Path, features: Features):
        """InputError for a file that LightGBM cannot read, and for a model of other features."""
        import lightgbm

        path, self.features = Path(folder) / FILE, features
        try:
            self.model = lightgbm.Booster(model_file=path)
        except lightgbm.basic.LightGBMError as error:
            raise InputError(f"{path}: expected a model of LightGBM ({error})") from None
        self.names = tuple(self.model.feature_name())
        check_names(self.names, path)

    def scores(self, slates: list[Slate]) -> list[np.ndarray]:
        rows = self.features.compute(slates, self.names)
        values = self.model.predict(np.concatenate(rows), num_threads=1)
        return np.split(values, np.cumsum([len(row) for row in rows])[:-1])


def train_lambdamart(
    train: list[Slate], valid: list[Slate], features: Features, folder: str | Path, list_size: int, seed: int
) -> dict[str, float]:
    """Grows trees on `train` and keeps as many as are best on `valid`, by NDCG at `list_size`.

    Every slate has a label above 0 and none below. Writes model.txt and prints its own NDCG; returns each feature's
    share of what the splits gain. InputError where the slates are too few to split on anything.
    """
    import lightgbm

    gains = np.unique(np.concatenate([slate.labels for slate in train + valid]))
    options = {
        "objective": "lambdarank",
        "eval_at": list_size,
        "label_gain": gains.tolist(),
        "learning_rate": SHRINKAGE,
        **repeatable(seed),
    }
    names = find_names(train)
    rows = [features.table(slates, names) for slates in (train, valid)]
    bias = fit_bias(train, rows[0], seed) if all(slate.positions for slate in train + valid) else 0.0
    # The valid slates start from the positions, too: their clicks also depend on these, so the trees are judged by what
    # they add.
    train_set = make_dataset(train, rows[0], names, gains, bias, options)
    valid_set = make_dataset(valid, rows[1], names, gains, bias, options, train_set)
    stopping = lightgbm.early_stopping(PATIENCE, verbose=False)
    model = lightgbm.train(options, train_set, TREES, valid_sets=[valid_set], callbacks=[stopping])
    share = model.feature_importance("gain")
    if not share.any():
        raise InputError(f"fit lambdamart: no feature splits the {len(train)} train slates; expected more of them")
    write_text(Path(folder) / FILE, model.model_to_string())
    scores = np.split(model.predict(rows[1], num_threads=1), np.cumsum([len(slate.candidates) for slate in valid])[:-1])
    value = rank_ndcg(scores, [slate.labels for slate in valid], list_size).mean()
    best = model.best_score["valid_0"][f"ndcg@{list_size}"]
    stopped = f" ({best:.3f} with the positions, by which it stopped)" if bias else ""
    grown = f"{len(train)} train slates, {len(valid)} valid: {model.best_iteration} trees"
    print(f"{grown}, ndcg@{list_size} {value:.3f}{stopped}")
    return dict(zip(names, (share / share.sum()).tolist(), strict=True))


def fit_bias(slates: list[Slate], rows: np.ndarray, seed: int) -> float:
    """What log(position) adds to the log odds of a click, beside a linear model of the features."""
    clicked = np.concatenate([np.array(slate.labels) > 0 for slate in slates])
    if clicked.all():
        return 0.0
    x = (rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-9)
    return fit_logistic(x, clicked, log_positions(slates), seed)[1]["position"]


def make_dataset(
    slates: list[Slate],
    rows: np.ndarray,
    names: Sequence[str],
    gains: np.ndarray,
    bias: float,
    options: dict,
    reference=None,
):
    """LightGBM's Dataset: a row per candidate, a group per slate; binned as `reference` is. With a `bias` the trees
    start from bias * log(position), so that they explain the rest, and are saved without it.
    """
    import lightgbm

    ranks = np.searchsorted(gains, np.concatenate([slate.labels for slate in slates]))
    groups = [len(slate.candidates) for slate in slates]
    start = {"init_score": bias * log_positions(slates)} if bias else {}
    return lightgbm.Dataset(rows, ranks, reference, group=groups, feature_name=list(names), params=options, **start)


def repeatable(seed: int) -> dict:
    """LightGBM's options for the same trees on every machine, without a word."""
    return {"seed": seed, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1}
