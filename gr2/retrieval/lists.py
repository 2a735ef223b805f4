"""The lists of one or more pre-rankers at every position."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.files.items import order_digest, read_items
from gr2.files.top_k import read_top_k
from gr2.retrieval import classic
from gr2.retrieval.positions import EventLog, Positions
from gr2.retrieval.queries import Queries, Ranker, Top
from gr2.retrieval.top_k import as_arrays

CELLS = 50_000_000  # scores held at a time, 200 MB
FUSED = 50  # smallest depth of each list that is fused


@dataclass(frozen=True)
class PreRankers:
    """Pre-rankers by name, several of which are fused, and what some of them need.

    history: the latest items that they read (SASRec: its own length); sasrec: a folder of `gr2 sasrec`; the others: see
    `beam.ranker`.
    """

    names: list[str]
    history: int
    exclude_seen: bool
    sasrec: str | None
    model_name_or_path: str | None
    semantic_ids: str | None
    beams: int
    window: int
    batch_size: int


def draw_lists(chosen: PreRankers, log: EventLog, positions: Positions, count: int) -> Top:
    """The `count` best items at every position, int32 and float32 [positions, count]; fewer only where the catalogue
    has no more items for the user.
    """
    rank = make_ranker(chosen, log, count)
    rank = classic.fill_by_popularity(rank, log.counts(), chosen.exclude_seen)
    tops, scores = zip(*rank_blocks(rank, positions.queries, len(log.item_ids)), strict=True)
    return np.concatenate(tops), np.concatenate(scores)


def rank_blocks(rank: Ranker, queries: Queries, n_items: int) -> Iterable[Top]:
    """The lists of one block of queries after the other, with a progress bar."""
    size = int(np.clip(CELLS // n_items, 64, 4096))
    blocks = -(-len(queries) // size)
    return tqdm(map(rank, queries.blocks(size)), "pre-ranking", blocks, unit="block", disable=None)


def read_lists(file: str, positions: pl.DataFrame, item_ids: pl.Series, count: int) -> Top:
    """The lists of the user's own ranker at the positions; prints how many are for other positions."""
    table = read_top_k(file, item_ids, positions)
    unused = len(table.join(positions, on=["user_id", "position"], how="anti"))
    if unused:
        print(f"{file}: {unused} of {len(table)} lists are for users or positions that were not asked for")
    return as_arrays(table, positions, item_ids, count)


def make_ranker(chosen: PreRankers, log: EventLog, count: int) -> Ranker:
    """The pre-ranker, or the fusion of several."""
    if len(chosen.names) == 1:
        return open_ranker(chosen.names[0], chosen, log, count)
    depth = max(count, FUSED)
    return classic.fuse([open_ranker(name, chosen, log, depth) for name in chosen.names], count)


def open_ranker(name: str, chosen: PreRankers, log: EventLog, count: int) -> Ranker:
    """A pre-ranker by name; all learn from pretrain events alone."""
    if name == "popularity":
        return classic.popularity(log.counts(), count, chosen.exclude_seen)
    if name == "item_knn":
        pretrain = log.pretrain()
        users = pretrain["user_id"].rle_id().to_numpy()  # events come user by user
        items = pretrain["row"].to_numpy()
        return classic.item_knn(users, items, len(log.item_ids), chosen.history, count, chosen.exclude_seen)
    if name == "bm25":
        titles = read_items(log.items)["title"].to_list()
        return classic.bm25(titles, chosen.history, count, chosen.exclude_seen)
    if name == "sasrec":
        return sasrec_ranker(chosen.sasrec, chosen.exclude_seen, log, count)
    from gr2.retrieval import beam

    return beam.ranker(
        read_catalogue(log.items, chosen.semantic_ids),
        chosen.model_name_or_path,
        count=count,
        beams=max(chosen.beams, count),
        history=chosen.history,
        window=chosen.window,
        batch_size=chosen.batch_size,
        exclude_seen=chosen.exclude_seen,
    )


def sasrec_ranker(folder: str, exclude_seen: bool, log: EventLog, count: int) -> Ranker:
    from safetensors import SafetensorError

    from gr2.retrieval.sasrec import SASRec, SASRecConfig, ranker

    shape = Path(folder) / "config.json"
    if not shape.exists() or read_json(shape).get("model_type") != SASRecConfig.model_type:
        raise InputError(f"--sasrec {folder}: expected a folder that `gr2 sasrec` wrote")
    try:
        model = SASRec.from_pretrained(folder)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise InputError(f"--sasrec {folder}: no loadable SASRec ({str(error).splitlines()[0]})") from None
    if model.config.items_digest != order_digest(log.item_ids):
        raise InputError(f"{folder}: it was trained on other items, or another order, than {log.items}")
    return ranker(model, count, exclude_seen)
