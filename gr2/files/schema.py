"""The type of every column of every file with rows and columns. Readers cast to it (`columns.exact`) or refuse."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from gr2.files.columns import exact

Types = Mapping[str, pl.DataType]

TEXT, WHOLE, NUMBER, TRUTH = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()
TEXTS, NUMBERS = pl.List(TEXT), pl.List(NUMBER)
ITEMS: Types = {"item_id": TEXT, "title": TEXT, "description": TEXT, "categories": TEXTS}
EVENTS: Types = {"user_id": TEXT, "item_id": TEXT, "position": WHOLE, "rating": NUMBER}  # `timestamp`: data.times
PREPARED: Types = {**EVENTS, "split": TEXT}
SEMANTIC_IDS: Types = {"item_id": TEXT, "codes": pl.List(WHOLE), "sid": TEXT}
TOP_K: Types = {"user_id": TEXT, "position": WHOLE, "candidates": TEXTS, "scores": NUMBERS}
SLATES: Types = {"slate_id": TEXT, "user_id": TEXT, "history": TEXTS, "candidates": TEXTS, "labels": NUMBERS,
                 "scores": NUMBERS, "split": TEXT}  # fmt: skip
RANKINGS: Types = {"slate_id": TEXT, "ranking": TEXTS, "valid": TRUTH, "scores": NUMBERS, "reasoning": TEXT,
                   "completion_tokens": WHOLE, "latency_ms": NUMBER}  # fmt: skip


def typed(frame: pl.DataFrame, path: str | Path, types: Types) -> pl.DataFrame:
    """The frame with those of its columns that `types` names in their types; InputError where a value would change."""
    return frame.with_columns([exact(frame[name], path, types[name]) for name in types if name in frame.columns])
