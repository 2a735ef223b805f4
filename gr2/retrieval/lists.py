"""The lists at many positions: drawn from a pre-ranker, or read from a top_k.parquet."""

from collections.abc import Iterable

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.names import name_columns
from gr2.files.top_k import read_top_k
from gr2.retrieval.positions import EventLog
from gr2.retrieval.queries import Queries, Ranker, Top, collect
from gr2.terminal import show_progress

CELLS = 50_000_000  # scores held at a time, 200 MB


def draw_lists(rank: Ranker, queries: Queries, n_items: int) -> Top:
    """The ranker's lists for all queries."""
    tops, scores = zip(*rank_blocks(rank, queries, n_items), strict=True)
    return np.concatenate(tops), np.concatenate(scores)


def rank_blocks(rank: Ranker, queries: Queries, n_items: int) -> Iterable[Top]:
    """The lists of one block of queries after the other."""
    size = block_size(n_items)
    blocks = -(-len(queries) // size)
    return show_progress(map(rank, queries.blocks(size)), "pre-ranking", blocks, "blocks")


def block_size(n_items: int) -> int:
    """Queries in a block."""
    return int(np.clip(CELLS // n_items, 64, 4096))


def read_lists(
    file: str, positions: pl.DataFrame, log: EventLog, count: int, names: dict[str, list[str]] | None = None
) -> tuple[Top, pl.Series | None]:
    """The lists of the user's own ranker at the positions, and their `sources` where the file has them; prints how many
    are for other positions. names: see `read_top_k`.
    """
    try:
        table = read_top_k(file, log.item_ids, positions, log.events, names)
    except InputError as error:
        raise InputError(f"{error}{name_columns(str(error), names or {})}") from None
    unused = len(table.join(positions, on=["user_id", "position"], how="anti"))
    if unused:
        print(f"{file}: {unused} of {len(table)} lists are for users or positions that were not asked for")
    lists = as_arrays(table, positions, log.item_ids, count)
    if "sources" not in table.columns:
        return lists, None
    keys = positions.select("user_id", "position")
    joined = keys.join(table, on=["user_id", "position"], how="left", maintain_order="left")
    return lists, joined["sources"].fill_null([])


def as_arrays(table: pl.DataFrame, positions: pl.DataFrame, item_ids: pl.Series, count: int) -> Top:
    """The first `count` items of each position's list in `table` (see `read_top_k`), in the order of the positions."""
    keys = positions.select("user_id", "position").with_row_index("query")
    lists = keys.join(table, on=["user_id", "position"], how="inner", maintain_order="left")
    entries = lists.explode("candidates", "scores").drop_nulls()
    rows = pl.DataFrame({"candidates": item_ids, "row": np.arange(len(item_ids), dtype=np.int32)})
    entries = entries.join(rows, on="candidates", how="left", maintain_order="left")
    query, items, scores = (entries[name].to_numpy() for name in ("query", "row", "scores"))
    return collect(query, items, scores, (len(positions), count))
