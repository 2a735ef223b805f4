"""The lists of the chosen pre-rankers at every position."""

from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from gr2.data.catalogue import order_digest, read_catalogue
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.files.tables import read_items
from gr2.retrieval import classic as simple
from gr2.retrieval.classic import filled_by_popularity, fused
from gr2.retrieval.positions import Positions
from gr2.retrieval.queries import Ranker, Top
from gr2.retrieval.top_k import as_arrays, read_top_k
from gr2.stages.slates_options import Config

CELLS = 50_000_000  # scores held at a time, 200 MB
FUSED = 50  # depth at least of each list that is fused


def listed(config: Config, events: pl.DataFrame, positions: Positions, item_ids: pl.Series, count: int) -> Top:
    """The `count` best items at every position; int32 and float32 [positions, count].

    Lists from a file may be short. Others are only where the catalogue has no more items for the user.
    """
    if not len(positions.queries):
        raise InputError(
            f"{config.interactions}: expected positions of {', '.join(config.splits)} with a past, found none"
        )
    if "file" in config.pre_ranker:
        return own_lists(config, positions.frame, item_ids, count)
    rank = own_ranker(config, events, item_ids, count)
    rank = filled_by_popularity(rank, counted(config, events, item_ids), config.exclude_seen)
    size = int(np.clip(CELLS // len(item_ids), 64, 4096))
    blocks = tqdm(
        positions.queries.blocks(size), "pre-ranking", -(-len(positions.queries) // size), unit="block", disable=None
    )
    top, scores = (np.concatenate(part) for part in zip(*map(rank, blocks), strict=True))
    return top, scores


def own_lists(config: Config, asked: pl.DataFrame, item_ids: pl.Series, count: int) -> Top:
    """The lists of the user's own file at the asked positions; says how many of them nobody asked for."""
    table = read_top_k(config.top_k, item_ids, asked)
    unused = len(table.join(asked, on=["user_id", "position"], how="anti"))
    if unused:
        print(f"{config.top_k}: {unused} of {len(table)} lists are for users or positions that were not asked for")
    return as_arrays(table, asked, item_ids, count)


def own_ranker(config: Config, events: pl.DataFrame, item_ids: pl.Series, count: int) -> Ranker:
    """The pre-ranker that the options name, or the fusion of several."""
    if len(config.pre_ranker) == 1:
        return ranker(config.pre_ranker[0], config, events, item_ids, count)
    deep = max(count, FUSED)
    return fused([ranker(name, config, events, item_ids, deep) for name in config.pre_ranker], count)


def learned(config: Config, events: pl.DataFrame) -> pl.DataFrame:
    """The pretrain events, all that a pre-ranker may learn from."""
    found = events.filter(pl.col("split") == "pretrain")
    if found.is_empty():
        raise InputError(f"{config.interactions}: column 'split': expected pretrain events to learn from, found none")
    return found


def counted(config: Config, events: pl.DataFrame, item_ids: pl.Series) -> np.ndarray:
    """How often each item occurs in the pretrain events: int64 [n_items]."""
    return np.bincount(learned(config, events)["row"], minlength=len(item_ids))


def ranker(name: str, config: Config, events: pl.DataFrame, item_ids: pl.Series, count: int) -> Ranker:
    """A pre-ranker by name; what it learns from are pretrain events."""
    if name == "popularity":
        return simple.popularity(counted(config, events, item_ids), count, config.exclude_seen)
    if name == "item_knn":
        pretrain = learned(config, events)
        users = pretrain["user_id"].rle_id().to_numpy()  # events come user by user
        return simple.item_knn(
            users, pretrain["row"].to_numpy(), len(item_ids), config.history, count, config.exclude_seen
        )
    if name == "bm25":
        return simple.bm25(read_items(config.items)["title"].to_list(), config.history, count, config.exclude_seen)
    if name == "sasrec":
        return sasrec_ranker(config, item_ids, count)
    from gr2.retrieval import beam

    catalogue = read_catalogue(config.items, config.semantic_ids)
    return beam.ranker(catalogue, config.model_name_or_path, count=count, beams=max(config.beams, count), history=config.history,
                       window=config.window, batch_size=config.batch_size, exclude_seen=config.exclude_seen)  # fmt: skip


def sasrec_ranker(config: Config, item_ids: pl.Series, count: int) -> Ranker:
    from safetensors import SafetensorError

    from gr2.retrieval.sasrec import SASRec, SASRecConfig, ranker

    shape = Path(config.sasrec) / "config.json"
    if not shape.exists() or read_json(shape).get("model_type") != SASRecConfig.model_type:
        raise InputError(f"--sasrec {config.sasrec}: expected a folder that `gr2 sasrec` wrote")
    try:
        model = SASRec.from_pretrained(config.sasrec)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise InputError(f"--sasrec {config.sasrec}: no loadable SASRec ({str(error).splitlines()[0]})") from None
    if model.config.items_digest != order_digest(item_ids):
        raise InputError(f"{config.sasrec}: it was trained on other items, or another order, than {config.items}")
    return ranker(model, count, config.exclude_seen)
