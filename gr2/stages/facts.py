"""gr2 facts: slates -> the same slates with what a production prompt holds beside the text, for prompts to show.

A candidate's facts are its features (gr2/data/features.py), those of each pre-ranker in `sources` included, in ten
levels, 0 the lowest: deciles over the candidates of the train slates. `rank` is the rank in the input order, from 1. A
prompt shows them as `{{ item.facts.popularity }}`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gr2.data.features import find_names, load_features
from gr2.errors import InputError
from gr2.files.columns import write_parquet
from gr2.files.items import read_items
from gr2.files.slates import check_slates, read_slate_table, slates_of
from gr2.options.declare import arg
from gr2.stages.shared import Slated

WRITES = ("slates.parquet",)
LEVELS = 10


@dataclass(kw_only=True)
class Config(Slated):
    interactions: str = arg(help="interactions.parquet; only its pretrain events are read", path="interactions.parquet")
    embeddings: str = arg(help="embeddings.safetensors", path="embeddings.safetensors")
    output_dir: str = arg(help="folder for slates.parquet")


def run(config: Config) -> None:
    """Reads slates, whose train split sets the levels, and what features are made of; writes slates.parquet."""
    # read
    frame = read_slate_table(config.slates, read_items(config.items)["item_id"])
    features = load_features(config.items, config.interactions, config.embeddings)
    # facts
    slates = slates_of(frame)
    names = [name for name in find_names(slates) if name not in ("rank", "top")]
    values = features.compute(slates, names)
    train = [own for own, slate in zip(values, slates, strict=True) if slate.split == "train"]
    if not train:
        raise InputError(f"{config.slates}: column 'split': expected train slates, whose candidates set the levels")
    edges = np.quantile(np.concatenate(train), np.arange(1, LEVELS) / LEVELS, axis=0)
    facts = pl.Series("facts", [make_facts(own, edges, names) for own in values])
    # write
    path = Path(config.output_dir) / "slates.parquet"
    write_parquet(check_slates(frame.with_columns(facts), path), path)


def make_facts(values: np.ndarray, edges: np.ndarray, names: list[str]) -> list[dict[str, int]]:
    """Features [K, names] and the levels' bounds [LEVELS - 1, names] -> a mapping per candidate. The level is the
    number of bounds below the value: where most candidates have 0 of something, that is level 0.
    """
    levels = (values[:, None] > edges).sum(1).tolist()
    return [{"rank": rank, **dict(zip(names, row, strict=True))} for rank, row in enumerate(levels, start=1)]
