"""gr2 facts: slates -> the same slates with what a production prompt holds beside the text, for prompts to show.

A candidate's facts are its features (gr2/data/features.py) in ten levels, 0 the lowest: deciles over the candidates of
the train slates. `rank` is the place in the input order, from 1. A prompt shows them as `{{ item.facts.popularity }}`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gr2.data.features import NAMES, load_features
from gr2.errors import InputError
from gr2.files.columns import write_parquet
from gr2.files.slates import slates_of
from gr2.files.tables import check_slates, read_items, read_slates
from gr2.options.declare import arg

LEVELS = 10
SHOWN = tuple(name for name in NAMES if name not in ("rank", "top"))

WRITES = ("slates.parquet",)


@dataclass
class Config:
    items: str = arg(help="items.parquet", path="items.parquet")
    interactions: str = arg(help="interactions.parquet; only its pretrain events are read", path="interactions.parquet")
    embeddings: str = arg(help="embeddings.safetensors", path="embeddings.safetensors")
    slates: str = arg(help="slates.parquet; its train split sets the levels", path="slates.parquet")
    output_dir: str = arg(help="folder for slates.parquet")


def run(config: Config) -> None:
    frame = read_slates(config.slates, read_items(config.items)["item_id"])
    features = load_features(config.items, config.interactions, config.embeddings)
    slates = slates_of(frame)
    values = [features.of(slate)[:, [NAMES.index(name) for name in SHOWN]] for slate in slates]
    learned = [own for own, slate in zip(values, slates, strict=True) if slate.split == "train"]
    if not learned:
        raise InputError(f"{config.slates}: column 'split': expected train slates, whose candidates set the levels")
    edges = np.quantile(np.concatenate(learned), np.arange(1, LEVELS) / LEVELS, axis=0)
    facts = pl.Series("facts", [facts_of(own, edges) for own in values])
    path = Path(config.output_dir) / "slates.parquet"
    write_parquet(check_slates(frame.with_columns(facts), path), path)


def facts_of(values: np.ndarray, edges: np.ndarray) -> list[dict[str, int]]:
    """Features [K, len(SHOWN)] and the levels' lower bounds [LEVELS - 1, len(SHOWN)] -> a mapping per candidate."""
    levels = (values[:, None] >= edges).sum(1).tolist()
    return [{"rank": rank, **dict(zip(SHOWN, row, strict=True))} for rank, row in enumerate(levels, start=1)]
