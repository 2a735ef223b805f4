"""What each of several retrievers gave an item of a list: `sources` of slates.parquet and top_k.parquet."""

import numpy as np
import polars as pl

from gr2.retrieval.queries import Top


def find_sources(top: np.ndarray, lists: dict[str, Top]) -> pl.Series:
    """A list per row of `top`, int [n, K], with a mapping per item: retriever -> its `rank`, from 1, and `score`; null
    where the retriever's own list, of [n, any], does not hold the item. Places of -1 are left out.
    """
    query, column = np.nonzero(top >= 0)
    frame = pl.DataFrame({"query": query}).select(
        "query", pl.struct(**{name: found(query, top[query, column], lists_of) for name, lists_of in lists.items()})
    )
    frame.columns = ["query", "sources"]
    grouped = frame.group_by("query", maintain_order=True).agg("sources")
    every = pl.DataFrame({"query": np.arange(len(top))}).join(grouped, on="query", how="left", maintain_order="left")
    return every["sources"].fill_null([])


def found(query: np.ndarray, items: np.ndarray, lists: Top) -> pl.Series:
    """A struct per (query, item): rank and score in the query's list of `lists`, or null."""
    row, column = np.nonzero(lists[0] >= 0)
    table = pl.DataFrame(
        {
            "query": row,
            "item": lists[0][row, column],
            "rank": (column + 1).astype(np.int64),
            "score": lists[1][row, column].astype(np.float64),
        }
    )
    pairs = pl.DataFrame({"query": query, "item": items})
    joined = pairs.join(table, on=["query", "item"], how="left", maintain_order="left")
    known = pl.when(pl.col("rank").is_not_null()).then(pl.struct("rank", "score"))
    return joined.select(known.alias("known")).to_series()
