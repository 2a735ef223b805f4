"""gr2 facts: slates -> the same slates with each candidate's features in ten levels, for prompts to show.

A candidate's facts are its features (gr2/data/features.py), those of each pre-ranker in `sources` included, in ten
levels, 0 the lowest: deciles over the candidates of the train slates. `rank` is the rank in the input order, from 1;
slates of an impression log have none, since it would be the position. A prompt shows facts as
`{{ item.facts.popularity }}`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gr2.data.facts import FILE, find_bounds, find_levels, write_levels
from gr2.data.features import find_names, is_logged, load_features
from gr2.errors import InputError
from gr2.files.columns import write_parquet
from gr2.files.items import read_items
from gr2.files.slates import Slates, check_slates, read_slate_table
from gr2.options.declare import arg
from gr2.stages.shared import SlateOptions

WRITES = ("slates.parquet", "levels.json")


@dataclass(kw_only=True)
class Config(SlateOptions):
    interactions: str = arg(help="interactions.parquet; only its pretrain events are read", path="interactions.parquet")
    embeddings: str = arg(help="embeddings.safetensors", path="embeddings.safetensors")
    output_dir: str = arg(help="folder for slates.parquet and levels.json")


def run(config: Config) -> None:
    """Reads slates, whose train split sets the levels, and what features are made of; writes slates.parquet and
    levels.json, with which `gr2 serve` adds facts to requests.
    """
    # read
    frame = read_slate_table(config.slates, read_items(config.items)["item_id"])
    features = load_features(config.items, config.interactions, config.embeddings)
    # facts
    if not (frame["split"] == "train").any():
        raise InputError(f"{config.slates}: column 'split': expected train slates, whose candidates set the levels")
    slates = Slates(frame)
    names = [name for name in find_names(slates) if name not in ("rank", "top")]
    sizes = frame["candidates"].list.len().to_numpy()
    train = np.repeat((frame["split"] == "train").to_numpy(), sizes)
    columns = dict(zip(names, features.table(slates, names).T, strict=True))
    bounds = {name: find_bounds(values[train]) for name, values in columns.items()}
    levels = {name: find_levels(values, bounds[name]) for name, values in columns.items()}
    ranked = not is_logged(slates)
    facts = {"rank": count_ranks(sizes)} | levels if ranked else levels
    # write
    path = Path(config.output_dir) / "slates.parquet"
    write_parquet(check_slates(frame.with_columns(facts=list_facts(sizes, facts)), path), path)
    write_levels(path.with_name(FILE), ranked, bounds)


def count_ranks(sizes: np.ndarray) -> np.ndarray:
    """The ranks, from 1, of all candidates of slates of these sizes, one slate after the other: int [candidates]."""
    ends = sizes.cumsum(dtype=np.int64)
    return np.arange(1, ends[-1] + 1) - np.repeat(ends - sizes, sizes)


def list_facts(sizes: np.ndarray, facts: dict[str, np.ndarray]) -> pl.Series:
    """A mapping per candidate, as lists of these sizes; facts: int [candidates], one slate after the other."""
    import pyarrow as pa

    ends = sizes.cumsum(dtype=np.int64)
    mappings = pa.StructArray.from_arrays([pa.array(values.astype(np.int64)) for values in facts.values()], list(facts))
    return pl.from_arrow(pa.LargeListArray.from_arrays(pa.array(np.append(0, ends)), mappings))
