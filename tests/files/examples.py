"""A small table of every kind, and its reader."""

import polars as pl

from gr2.files.interactions import read_interactions
from gr2.files.items import read_items
from gr2.files.rankings import read_rankings
from gr2.files.semantic_ids import read_semantic_ids
from gr2.files.sid_tokens import sid_string
from gr2.files.slates import read_slate_table

ITEMS = {
    "item_id": ["a", "b", "c"],
    "title": ["A", "B", ""],
    "description": ["x", "y", "z"],
    "categories": [["F", "G"], [], ["F"]],
}
EVENTS = {"user_id": ["u", "u", "v"], "item_id": ["a", "b", "a"], "timestamp": [3, 1, 2]}
SLATES = {
    "slate_id": ["s0", "s1"], "user_id": ["u", "v"], "history": [["a"], ["b", "b"]],
    "candidates": [["b", "c"], ["c", "a"]], "labels": [[0.0, 1.0], []], "scores": [[2.0, 1.0], [0.5, 0.1]],
    "split": ["train", "test"],
}  # fmt: skip
SIDS = {"item_id": ["a", "b"], "codes": [[0, 1], [0, 2]], "sid": [sid_string([0, 1]), sid_string([0, 2])]}
RANKINGS = {"slate_id": ["s1", "s0"], "ranking": [["a", "c"], ["b", "c"]], "valid": [True, False]}
IDS = pl.Series(["a", "b", "c"])


def write_table(folder, columns, ending=".parquet", **changed):
    """Columns, some of them changed, as table.parquet, table.csv or table.jsonl."""
    frame = pl.DataFrame(columns | changed)
    path = folder / f"table{ending}"
    if ending == ".parquet":
        frame.write_parquet(path)
    elif ending == ".csv":
        lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
        frame.with_columns(pl.col(lists).list.join("|")).write_csv(path, quote_style="non_numeric")
    else:
        frame.write_ndjson(path)
    return path


READERS = {
    "items": (read_items, ITEMS),
    "events": (lambda path: read_interactions(path, IDS), EVENTS),
    "slates": (lambda path: read_slate_table(path, IDS), SLATES),
    "sids": (lambda path: read_semantic_ids(path, IDS[:2]), SIDS),
    "rankings": (lambda path: read_rankings(path, pl.DataFrame(SLATES)), RANKINGS),
}
