"""The old names of the files' readers, for one release of imports; `read_rankings` moves to files/rankings.py."""

from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import as_id, cast_exactly, read_table, refuse_rows, require_columns
from gr2.files.interactions import SPLITS, read_events, read_interactions  # noqa: F401
from gr2.files.items import read_items  # noqa: F401
from gr2.files.schema import NUMBER, NUMBERS, TEXT, TEXTS, TRUTH, WHOLE, Types, cast_columns
from gr2.files.semantic_ids import read_semantic_ids  # noqa: F401
from gr2.files.slates import SLATE_SPLITS, check_slates  # noqa: F401
from gr2.files.slates import read_slate_table as read_slates  # noqa: F401
from gr2.files.top_k import TOP_K

RANKINGS: Types = {
    "slate_id": TEXT,
    "ranking": TEXTS,
    "valid": TRUTH,
    "scores": NUMBERS,
    "reasoning": TEXT,
    "completion_tokens": WHOLE,
    "latency_ms": NUMBER,
}


def list_casts(frame: pl.DataFrame, path: str | Path) -> list[pl.Series]:
    """The list columns of a pre-ranker's lists in their types; InputError for a column that holds no such lists."""
    lists = {name: kind for name, kind in TOP_K.items() if kind in (TEXTS, NUMBERS)}
    return [cast_exactly(frame[name], path, lists[name]) for name in lists if name in frame.columns]


def read_rankings(path: str | Path, slates: pl.DataFrame, advice: str = "") -> pl.DataFrame:
    """`slate_id`, `ranking`, `valid`, ... in the order of `slates`; each ranking must permute its slate's candidates.

    advice: what to do where slates are missing, for the end of the sentence.
    """
    frame = read_table(path)
    require_columns(frame, path, ("slate_id", "ranking", "valid"))
    frame = cast_columns(frame, path, RANKINGS)
    frame = frame.with_columns(as_id(frame, path, "slate_id"))
    refuse_rows(frame["valid"].is_null(), path, "valid", "true or false", frame["valid"])
    if "completion_tokens" in frame.columns:
        counts = frame["completion_tokens"]
        refuse_rows(counts.fill_null(0) < 0, path, "completion_tokens", "a number of at least 0, or none", counts)
    refuse_rows(~frame["slate_id"].is_first_distinct(), path, "slate_id", "one row per slate", frame["slate_id"])
    missing = set(slates["slate_id"]) - set(frame["slate_id"])
    if missing:
        raise InputError(
            f"{path}: column 'slate_id': expected a row for every slate; {len(missing)} are missing, "
            f"'{min(missing)}' among them{advice}"
        )
    asked = frame.select("slate_id").join(
        slates.select("slate_id", "candidates"), on="slate_id", how="left", maintain_order="left"
    )["candidates"]
    wrong = (frame["ranking"].list.sort() != asked.list.sort()).fill_null(True)
    refuse_rows(
        wrong & asked.is_not_null(), path, "ranking", "a permutation of the slate's candidates", frame["ranking"]
    )
    return slates.select("slate_id").join(frame, on="slate_id", maintain_order="left")
