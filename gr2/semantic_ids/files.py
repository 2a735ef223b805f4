"""The names of a `gr2 sids` folder's files, and how IDs are written."""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.data.columns import write_parquet
from gr2.semantic_ids.tokens import sid_string

IDS, RETIRED, QUANTIZER = "semantic_ids.parquet", "retired_ids.parquet", "quantizer.safetensors"


def write_ids(path: Path, item_ids: pl.Series, codes: np.ndarray, metadata: dict[str, str]) -> None:
    """codes: int [items, levels]."""
    rows = codes.tolist()
    write_parquet(
        pl.DataFrame({"item_id": item_ids, "codes": rows, "sid": [sid_string(row) for row in rows]}), path, metadata
    )
