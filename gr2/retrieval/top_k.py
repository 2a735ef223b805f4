"""Lists of a ranker that the user already has (`pre_ranker: file`), or that `gr2 slates --depth` wrote."""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.columns import as_id, is_table, read_table, refuse_rows, require_columns, whole_numbers
from gr2.files.tables import list_casts
from gr2.retrieval.queries import Top


def read_top_k(path: str, item_ids: pl.Series, asked: pl.DataFrame) -> pl.DataFrame:
    """`user_id`, `position`, `candidates` (best first), `scores` that do not rise; InputError names the row that is
    wrong.

    Without scores in the file they are minus the rank, counted from 0. A file with another ending than a table's is
    LLMRank's: `user<TAB>item item item`, for the last position asked of each user.
    """
    table = read_table(path) if is_table(path) else read_llmrank(path, asked)
    require_columns(table, path, ("user_id", "position", "candidates"))
    keys = as_id(table, path, "user_id").alias("user_id"), whole_numbers(table, path, "position").alias("position")
    table = table.with_columns(*keys, *list_casts(table, path))
    twice = ~table.select(pl.struct("user_id", "position").is_first_distinct()).to_series()
    refuse_rows(twice, path, "position", "one list per user and position", table["position"])
    candidates, sizes = table["candidates"], table["candidates"].list.len()
    known = candidates.list.eval(pl.element().is_in(item_ids.implode()).fill_null(False)).list.all()
    good = known & (candidates.list.n_unique() == sizes)
    refuse_rows(~good, path, "candidates", "distinct items of the items file", candidates)
    if "scores" not in table.columns:
        ranks = pl.int_ranges(pl.col("candidates").list.len()).cast(pl.List(pl.Float64)).list.eval(-pl.element())
        table = table.with_columns(ranks.alias("scores"))
    finite = table["scores"].list.eval(pl.element().is_finite().fill_null(False)).list.all()
    fits = (table["scores"].list.len() == sizes) & finite
    refuse_rows(~fits, path, "scores", "a finite score per candidate", table["scores"])
    rises = table["scores"].list.eval(pl.element().diff() > 0).list.any()
    refuse_rows(rises, path, "scores", "scores that do not rise: the best candidate comes first", table["scores"])
    return table.select("user_id", "position", "candidates", "scores")


def read_llmrank(path: str, asked: pl.DataFrame) -> pl.DataFrame:
    """Lines `user<TAB>item item ...`, as LLMRank's NAME.random and NAME.bm25 have them, as a table with a row a line.

    Users who are not asked for keep an empty list, at a position that nobody has: -1, -2, ...
    """
    last = dict(asked.group_by("user_id").agg(pl.col("position").max()).iter_rows())
    rows = []
    try:
        lines = Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: expected a table, or text with a user, a tab and items in each line, but {error}"
        ) from None
    for number, line in enumerate(lines):
        user, tab, items = line.partition("\t")
        if not (user and tab and items.split()):
            raise InputError(f"{path}: row {number}: expected a user, a tab and items, found {line[:80]!r}")
        known = user in last
        rows.append((user, last[user] if known else -1 - number, items.split() if known else []))
    return pl.DataFrame(
        rows, {"user_id": pl.String, "position": pl.Int64, "candidates": pl.List(pl.String)}, orient="row"
    )


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
