"""LambdaMART on the blend's features: boosted trees whose gradients are the NDCG's changes (Burges 2010, MSR-TR-2010-82).

LightGBM's `lambdarank` with its defaults. Its labels are whole numbers: here the ranks of the distinct labels, from 0, and
the label itself is what LightGBM gains by a rank. So any labels are fine, and its NDCG is that of gr2/metrics.py.
"""

from pathlib import Path

import numpy as np

from gr2.data.features import NAMES, Features
from gr2.errors import InputError
from gr2.files.artifacts import write_text
from gr2.files.slates import Slate
from gr2.rerankers.record import FILES
from gr2.stages.fit import Config

FILE = FILES["lambdamart"]  # LightGBM's own text
SHRINKAGE, TREES, PATIENCE = 0.05, 2000, 50  # PATIENCE: trees without a better NDCG on the slates to judge by


def fit(learned: list[Slate], judged: list[Slate], features: Features, config: Config) -> dict[str, float]:
    """Grows trees on `learned` and keeps as many as are best on `judged`, by NDCG at `config.list_size`.

    Every slate has a label above 0 and none below. Writes model.txt to the output folder; returns each feature's share of
    what the splits gain. InputError where the slates are too few to split on anything.
    """
    import lightgbm

    gains = np.unique(np.concatenate([slate.labels for slate in learned + judged]))
    options = {
        "objective": "lambdarank",
        "eval_at": config.list_size,
        "label_gain": gains.tolist(),
        "learning_rate": SHRINKAGE,
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    train = dataset(learned, features, gains, options)
    model = lightgbm.train(options, train, TREES, valid_sets=[dataset(judged, features, gains, options, train)],
                           callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)])  # fmt: skip
    share = model.feature_importance("gain")
    if not share.any():
        raise InputError(f"{config.slates}: no feature splits its {len(learned)} train slates; expected more of them")
    write_text(Path(config.output_dir) / FILE, model.model_to_string())
    ((metric, ndcg),) = model.best_score["valid_0"].items()
    print(
        f"{len(learned)} slates to learn, {len(judged)} to judge by: {model.best_iteration} trees, {metric} {ndcg:.3f}"
    )
    return dict(zip(NAMES, (share / share.sum()).tolist(), strict=True))


def dataset(slates: list[Slate], features: Features, gains: np.ndarray, options: dict, reference=None):
    """LightGBM's Dataset: a row a candidate, a group a slate; binned as `reference` is."""
    import lightgbm

    ranks = np.searchsorted(gains, np.concatenate([slate.labels for slate in slates]))
    groups = [len(slate.candidates) for slate in slates]
    rows = np.concatenate([features.of(slate) for slate in slates])
    return lightgbm.Dataset(rows, ranks, reference, group=groups, feature_name=list(NAMES), params=options)


def score(slates: list[Slate], features: Features, folder: str | Path) -> list[np.ndarray]:
    """One array of scores [K] per slate; higher is better. InputError for a file that LightGBM cannot read."""
    import lightgbm

    path = Path(folder) / FILE
    try:
        model = lightgbm.Booster(model_file=path)
    except lightgbm.basic.LightGBMError as error:
        raise InputError(f"{path}: expected a model of LightGBM ({error})") from None
    if model.feature_name() != list(NAMES):
        raise InputError(f"{path}: expected a model of {', '.join(NAMES)}; run `gr2 fit` again")
    rows = [features.of(slate) for slate in slates]
    values = model.predict(np.concatenate(rows), num_threads=1)
    return np.split(values, np.cumsum([len(row) for row in rows])[:-1])
