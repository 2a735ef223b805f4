"""`sources`: what each of several retrievers gave the candidates of a list; a column of slates and of top_k tables."""

from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import refuse_elements, refuse_rows


def check_sources(frame: pl.DataFrame, path: str | Path) -> None:
    """A mapping per candidate: retriever -> `rank`, from 1, and `score`, or null. Frames may lack the column."""
    if "sources" not in frame.columns:
        return
    sources = frame["sources"]
    if sources.dtype == pl.List(pl.Null) and not sources.list.len().sum():  # no slate has any
        return
    if not is_listed(sources.dtype):
        expected = "a list of mappings from retrievers to rank and score"
        raise InputError(f"{path}: column 'sources': expected {expected}, found {sources.dtype}")
    sizes = frame["candidates"].list.len()
    refuse_rows(sources.list.len() != sizes, path, "sources", "one mapping per candidate", sources)
    refuse_elements(sources, pl.element().is_not_null(), path, "one mapping per candidate")
    for retriever in sources.dtype.inner.fields:
        if retriever.dtype == pl.Null:  # it returned none of all these candidates
            continue
        given = pl.element().struct.field(retriever.name)
        rank, score = given.struct.field("rank"), given.struct.field("score")
        good = given.is_null() | ((rank >= 1) & score.is_finite())
        refuse_elements(sources, good, path, f"a rank from 1 and a finite score of {retriever.name}, or null")


def is_listed(dtype: pl.DataType) -> bool:
    """Whether it is that of lists of mappings from retrievers to rank and score."""
    return dtype == pl.List(pl.Struct) and all(
        retriever.dtype == pl.Null
        or (
            retriever.dtype == pl.Struct
            and {part.name for part in retriever.dtype.fields} == {"rank", "score"}
            and all(part.dtype.is_numeric() for part in retriever.dtype.fields)
        )
        for retriever in dtype.inner.fields
    )
