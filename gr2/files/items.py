"""items.parquet, the catalogue: a row an item. Files with a row for each item keep the order of its rows."""

import hashlib
from functools import partial
from pathlib import Path

import polars as pl

from gr2.files.columns import cast_ids, read_table, refuse_rows, require_columns
from gr2.files.interactions import Check
from gr2.files.raw import table_ending
from gr2.files.schema import TEXT, TEXTS, Types, cast_columns

OPTIONAL: Types = {"description": TEXT, "categories": TEXTS}


def read_items(path: str | Path) -> pl.DataFrame:
    """`item_id`, `title`, optional `description` and `categories` (lists), and others."""
    frame = read_table(path)
    for check in item_checks(path):
        frame = check(frame)
    return drop_empty_categories(frame)


def item_checks(path: str | Path) -> list[Check]:
    """What `read_items` checks, one column after the other."""
    return [partial(check, path=path) for check in (check_ids, check_titles, check_others)]


def check_ids(frame: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    require_columns(frame, path, ("item_id",))
    ids = cast_ids(frame, path, "item_id")
    refuse_rows(~ids.is_first_distinct(), path, "item_id", "unique item ids", ids)
    return frame.with_columns(ids)


def check_titles(frame: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    require_columns(frame, path, ("title",))
    frame = cast_columns(frame, path, {"title": TEXT})
    if table_ending(path) in (".csv", ".tsv"):  # `,,` and `,"",` are the same there
        frame = frame.with_columns(pl.col("title").fill_null(""))
    refuse_rows(frame["title"].is_null(), path, "title", "a title (it may be empty)", frame["title"])
    return frame


def check_others(frame: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    if "categories" in frame.columns and frame["categories"].dtype == pl.String:  # CSV has no lists: `Comedy|Drama`
        frame = frame.with_columns(pl.col("categories").str.split("|"))
    return cast_columns(frame, path, OPTIONAL)


def drop_empty_categories(items: pl.DataFrame) -> pl.DataFrame:
    """The items without empty or missing names in `categories`; a missing list becomes an empty one."""
    if "categories" not in items.columns:
        return items
    named = pl.col("categories").fill_null([]).list.eval(pl.element().filter(pl.element() != ""))
    return items.with_columns(named)


def order_digest(item_ids: pl.Series) -> str:
    """SHA-256 of the item order; stored with row-aligned artifacts (embeddings, SASRec) to detect a mismatch."""
    return hashlib.sha256("\n".join(item_ids).encode()).hexdigest()
