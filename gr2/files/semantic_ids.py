"""The names of a `gr2 sids` folder's files, and how IDs are written."""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.files.columns import write_parquet
from gr2.files.sid_tokens import sid_string

IDS, RETIRED, QUANTIZER = "semantic_ids.parquet", "retired_ids.parquet", "quantizer.safetensors"


def write_ids(path: Path, item_ids: pl.Series, codes: np.ndarray, metadata: dict[str, str]) -> None:
    """codes: int [items, levels]. metadata: of `semantic_ids.parquet`, `quantizer`, the sha256 of the file that encoded the items,
    and `codes`, how many codes a level has, those that no item uses yet among them.
    """
    rows = codes.tolist()
    write_parquet(
        pl.DataFrame({"item_id": item_ids, "codes": rows, "sid": [sid_string(row) for row in rows]}), path, metadata
    )


def codes_of_level(path: str | Path) -> int | None:
    """How many codes a level of these IDs can have, as the file of `gr2 sids` says; None for a file from elsewhere."""
    recorded = pl.read_parquet_metadata(path).get("codes")
    return int(recorded) if recorded else None
