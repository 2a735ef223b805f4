"""The types of columns. Readers cast to them (`columns.cast_exactly`) or refuse."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from gr2.files.columns import cast_exactly

Types = Mapping[str, pl.DataType]

TEXT, WHOLE, NUMBER, TRUTH = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()
TEXTS, WHOLES, NUMBERS = pl.List(TEXT), pl.List(WHOLE), pl.List(NUMBER)


def cast_columns(frame: pl.DataFrame, path: str | Path, types: Types) -> pl.DataFrame:
    """Casts those columns of the frame that `types` names; InputError where a value would change."""
    columns = [name for name in types if name in frame.columns]
    return frame.with_columns([cast_exactly(frame[name], path, types[name]) for name in columns])
