"""The lists of top_k.parquet as arrays."""

import numpy as np
import polars as pl

from gr2.retrieval.queries import Top


def as_arrays(table: pl.DataFrame, asked: pl.DataFrame, item_ids: pl.Series, count: int) -> Top:
    """The first `count` of each asked position's list (`user_id`, `position`), in its order; -1 where there is none."""
    keys = asked.select("user_id", "position").with_row_index("query")
    found = keys.join(table, on=["user_id", "position"], how="inner", maintain_order="left")
    pairs = (
        found.select("query", pl.col("candidates", "scores").list.head(count))
        .explode("candidates", "scores")
        .drop_nulls()
    )
    rows = pl.DataFrame({"candidates": item_ids, "row": np.arange(len(item_ids), dtype=np.int32)})
    pairs = pairs.join(rows, on="candidates", how="left", maintain_order="left")
    query = pairs["query"].to_numpy()
    place = np.arange(len(query)) - np.searchsorted(query, query)
    top, scores = np.full((len(asked), count), -1, np.int32), np.full((len(asked), count), -np.inf, np.float32)
    top[query, place], scores[query, place] = pairs["row"].to_numpy(), pairs["scores"].to_numpy()
    return top, scores
