"""semantic_ids.parquet, and the names of the other files of a `gr2 sids` folder. Tokens: `sid_tokens`."""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.columns import cast_ids, read_table, refuse_elements, refuse_rows, require_columns, write_parquet
from gr2.files.schema import TEXT, WHOLES, Types, cast_columns
from gr2.files.sid_tokens import MOST_LEVELS, sid_string

IDS, RETIRED, QUANTIZER = "semantic_ids.parquet", "retired_ids.parquet", "quantizer.safetensors"
SEMANTIC_IDS: Types = {"item_id": TEXT, "codes": WHOLES, "sid": TEXT}


def read_semantic_ids(path: str | Path, item_ids: pl.Series | None = None) -> pl.DataFrame:
    """`item_id`, `codes` (list of int, one per level), `sid` (token string); IDs must be unique and of one length."""
    frame = read_table(path)
    require_columns(frame, path, ("item_id", "codes", "sid"))
    frame = cast_columns(frame, path, SEMANTIC_IDS)
    if frame.is_empty():
        raise InputError(f"{path}: column 'codes': expected a list of whole numbers for each item, found no item")
    frame = frame.with_columns(cast_ids(frame, path, "item_id"))
    codes, lengths = frame["codes"], frame["codes"].list.len()
    refuse_rows(~lengths.is_between(1, MOST_LEVELS), path, "codes", f"1 to {MOST_LEVELS} codes, one a level", codes)
    refuse_rows(lengths != lengths[0], path, "codes", f"{lengths[0]} codes", codes)
    refuse_elements(codes, pl.element() >= 0, path, "codes of at least 0")
    spelled = pl.Series([sid_string(row) for row in codes.to_list()], dtype=pl.String)
    refuse_rows(frame["sid"].ne_missing(spelled), path, "sid", "the codes of its row as tokens", frame["sid"])
    refuse_rows(~frame["sid"].is_first_distinct(), path, "sid", "unique semantic IDs", frame["sid"])
    refuse_rows(~frame["item_id"].is_first_distinct(), path, "item_id", "unique item ids", frame["item_id"])
    if item_ids is not None and not frame["item_id"].equals(item_ids):
        raise InputError(f"{path}: column 'item_id': expected the items of the items file in its order")
    return frame


def write_semantic_ids(path: Path, item_ids: pl.Series, codes: np.ndarray, metadata: dict[str, str]) -> None:
    """codes: int [items, levels]. metadata of semantic_ids.parquet: `quantizer`, the sha256 of the file that encoded
    the items, and `codes`, the number of codes a level has, those without an item among them.
    """
    rows = codes.tolist()
    sids = [sid_string(row) for row in rows]
    write_parquet(pl.DataFrame({"item_id": item_ids, "codes": rows, "sid": sids}), path, metadata)


def read_codes_per_level(path: str | Path) -> int | None:
    """The number of codes a level of these IDs has, as `gr2 sids` recorded it; None for a file from elsewhere."""
    recorded = pl.read_parquet_metadata(path).get("codes")
    return int(recorded) if recorded else None
