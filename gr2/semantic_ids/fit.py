"""Trains a quantizer of any kind on item vectors."""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.columns import require_columns
from gr2.files.interactions import read_interactions
from gr2.semantic_ids import additive, rkmeans, rqvae_train
from gr2.semantic_ids.quantizer import Quantizer
from gr2.semantic_ids.settings import QuantizerKind, RQVAESettings


def fit(
    kind: QuantizerKind,
    vectors: np.ndarray,
    levels: int,
    codes: int,
    *,
    beam: int = 1,
    seed: int = 0,
    rqvae: RQVAESettings | None = None,
    pairs: np.ndarray | None = None,
    checkpoint: Path | None = None,
) -> Quantizer:
    """A quantizer of vectors [n, d]; InputError for fewer vectors than codes. The last three: see `rqvae_train`."""
    if len(vectors) < codes:
        raise InputError(f"--codes {codes}: expected at most {len(vectors)}, the number of items to train on")
    if kind == "rqvae":
        model = rqvae_train.train(vectors, levels, codes, rqvae or RQVAESettings(), seed, pairs, checkpoint)
        return Quantizer(kind, model.codebooks.detach().numpy(), beam, model.network)
    trainers = {"rkmeans": rkmeans.train, "balanced": rkmeans.train_balanced, "additive": additive.train}
    return Quantizer(kind, trainers[kind](vectors, levels, codes, seed), beam)


def draw_rows(count: int, sample: int | None, seed: int) -> np.ndarray:
    """`sample` of the rows 0..count-1 (None: all), drawn under the seed, in order."""
    if sample is None or sample >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, sample, replace=False))


def read_pairs(interactions: str, item_ids: pl.Series, rows: np.ndarray) -> np.ndarray:
    """int64 [p, 2]: pairs of items that a user took one after the other, at pretrain positions: later ones would leak.

    An item is given by its index in `rows`, the rows of the items file that are trained on.
    """
    events = read_interactions(interactions, item_ids)
    require_columns(events, interactions, ("split", "position"))
    index = pl.DataFrame({"item_id": item_ids[rows], "index": np.arange(len(rows))})
    past = events.filter(pl.col("split") == "pretrain").join(index, on="item_id", how="left")
    past = past.sort("user_id", "position")
    pairs = past.select("index", pl.col("index").shift(-1).over("user_id").alias("next")).drop_nulls()
    if pairs.is_empty():
        raise InputError(f"{interactions}: expected users with two pretrain events, found none")
    return pairs.to_numpy()
