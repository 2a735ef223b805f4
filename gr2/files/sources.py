"""`sources`: what each of several retrievers gave the candidates of a list; a column of slates and of top_k tables."""

from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import refuse_rows


def check_sources(frame: pl.DataFrame, path: str | Path) -> None:
    """A mapping per candidate: retriever -> `rank`, from 1, and `score`, or null. Frames may lack the column."""
    if "sources" not in frame.columns:
        return
    sources = frame["sources"]
    if not is_listed(sources.dtype):
        expected = "a list of mappings from retrievers to rank and score"
        raise InputError(f"{path}: column 'sources': expected {expected}, found {sources.dtype}")
    sizes = frame["candidates"].list.len()
    refuse_rows(sources.list.len() != sizes, path, "sources", "one mapping per candidate", sources)
    for name in (retriever.name for retriever in sources.dtype.inner.fields):
        rank, score = (pl.element().struct.field(name).struct.field(part) for part in ("rank", "score"))
        absent = pl.element().struct.field(name).is_null() | (rank.is_null() & score.is_null())
        good = absent | ((rank >= 1) & score.is_finite()).fill_null(False)
        refused = ~sources.list.eval(good).list.all()
        refuse_rows(refused, path, "sources", f"a rank from 1 and a finite score of {name}, or null", sources)


def is_listed(dtype: pl.DataType) -> bool:
    if dtype != pl.List(pl.Struct):
        return False
    parts = [
        {part.name: part.dtype for part in one.dtype.fields} if one.dtype == pl.Struct else {}
        for one in dtype.inner.fields
    ]
    return bool(parts) and all(
        set(one) == {"rank", "score"} and all(kind.is_numeric() for kind in one.values()) for one in parts
    )
