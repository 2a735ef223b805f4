"""Trains a quantizer of any kind on item vectors."""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.columns import require_columns
from gr2.files.tables import read_interactions
from gr2.semantic_ids import additive, rkmeans, rqvae_train
from gr2.semantic_ids.quantizer import Quantizer
from gr2.stages.sids_options import Training


def fit(config: Training, items: pl.DataFrame, vectors: np.ndarray) -> Quantizer:
    """The trained quantizer; vectors: [items, d]. InputError where there are fewer of them than codes."""
    rows, size = np.arange(len(vectors)), min(len(vectors), config.train_sample or len(vectors))
    if size < config.codes:
        raise InputError(f"{config.items}: {size} items to train on are fewer than {config.codes} codes; lower --codes")
    if size < len(rows):
        rows = np.sort(np.random.default_rng(config.seed).choice(rows, size, replace=False))
    shape = (config.levels, config.codes)
    if config.quantizer == "rqvae":
        pairs = co_interacted(config, items, rows) if config.contrastive else None
        model = rqvae_train.train(vectors[rows], *shape, config, config.seed, pairs, checkpoint(config))
        return Quantizer("rqvae", model.codebooks.detach().numpy(), config.beam, model.network)
    trainers = {"rkmeans": rkmeans.train, "balanced": rkmeans.train_balanced, "additive": additive.train}
    codebooks = trainers[config.quantizer](vectors[rows], *shape, config.seed)
    return Quantizer(config.quantizer, codebooks, config.beam)


def co_interacted(config: Training, items: pl.DataFrame, rows: np.ndarray) -> np.ndarray:
    """int64 [p, 2]: places in `rows`, item rows that are trained on, of items that a user took one after the other, both at
    pretrain positions: later ones would leak.
    """
    events = read_interactions(config.interactions, items["item_id"])
    require_columns(events, config.interactions, ("split", "position"))
    place = pl.DataFrame({"item_id": items["item_id"][rows], "place": np.arange(len(rows))})
    past = (
        events.filter(pl.col("split") == "pretrain").join(place, on="item_id", how="left").sort("user_id", "position")
    )
    pairs = past.select("place", pl.col("place").shift(-1).over("user_id").alias("next")).drop_nulls()
    if pairs.is_empty():
        raise InputError(f"{config.interactions}: expected users with two pretrain events, found none")
    return pairs.to_numpy()


def checkpoint(config: Training) -> Path:
    return Path(config.output_dir) / "checkpoint-rqvae" / "state.safetensors"
