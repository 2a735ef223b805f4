"""The parquet files that stages exchange: read + validate, and write whole.

Every reader raises InputError with file, row (counted from 0), column and expectation. Ids are strings.
"""

from pathlib import Path

import polars as pl

from gr2.data.columns import as_id, read_table, refuse_rows, require_columns, seconds, whole_numbers
from gr2.errors import InputError
from gr2.semantic_ids.tokens import sid_string

SPLITS = ("pretrain", "train", "valid", "test")  # of interactions; slates have the last three
SLATE_SPLITS = SPLITS[1:]


def read_items(path: str | Path, names: dict[str, str] | None = None) -> pl.DataFrame:
    """`item_id`, `title`, optional `description`, `categories` (list of strings), other text columns as they are."""
    frame = read_table(path, names)
    require_columns(frame, path, ("item_id", "title"))
    frame = frame.with_columns(as_id(frame, path, "item_id").alias("item_id"))
    refuse_rows(~frame["item_id"].is_first_distinct(), path, "item_id", "unique item ids", frame["item_id"])
    refuse_rows(frame["title"].is_null(), path, "title", "a title (it may be empty)", frame["title"])
    frame = frame.with_columns(pl.col("title").cast(pl.String))
    if "categories" not in frame.columns:
        return frame
    if frame["categories"].dtype == pl.String:  # CSV has no lists: `Comedy|Drama`
        frame = frame.with_columns(pl.col("categories").str.split("|"))
    if not isinstance(frame["categories"].dtype, pl.List):
        raise InputError(f"{path}: column 'categories': expected lists of strings, found {frame['categories'].dtype}")
    named = (
        pl.col("categories").cast(pl.List(pl.String)).fill_null([]).list.eval(pl.element().filter(pl.element() != ""))
    )
    return frame.with_columns(named.alias("categories"))


def read_interactions(
    path: str | Path, item_ids: pl.Series | None = None, names: dict[str, str] | None = None
) -> pl.DataFrame:
    """`user_id`, `item_id`, `timestamp` (int, seconds) or `position` (int), and whatever else the file holds.

    With `item_ids`, refuses an event whose item is not among them.
    """
    frame = read_table(path, names)
    require_columns(frame, path, ("user_id", "item_id"))
    order = next((name for name in ("position", "timestamp") if name in frame.columns), None)
    if order is None:
        raise InputError(
            f"{path}: expected a column 'timestamp' (seconds) or 'position'; it has {', '.join(frame.columns)}"
        )
    frame = frame.with_columns(
        as_id(frame, path, "user_id").alias("user_id"), as_id(frame, path, "item_id").alias("item_id")
    )
    if "timestamp" in frame.columns:
        frame = frame.with_columns(seconds(frame["timestamp"], path))
    for name in {"timestamp", "position"} & set(frame.columns):
        frame = frame.with_columns(whole_numbers(frame, path, name).alias(name))
    if item_ids is not None:
        unknown = ~frame["item_id"].is_in(item_ids.implode())
        refuse_rows(unknown, path, "item_id", "an item of the items file", frame["item_id"])
    return frame


def read_semantic_ids(path: str | Path, item_ids: pl.Series | None = None) -> pl.DataFrame:
    """`item_id`, `codes` (list of int, one per level), `sid` (token string); IDs must be unique and of one length."""
    frame = read_table(path)
    require_columns(frame, path, ("item_id", "codes", "sid"))
    if not isinstance(frame["codes"].dtype, pl.List) or frame.is_empty():
        raise InputError(f"{path}: column 'codes': expected a list of whole numbers for each item")
    frame = frame.with_columns(as_id(frame, path, "item_id").alias("item_id"))
    lengths = frame["codes"].list.len()
    refuse_rows(
        lengths.ne_missing(lengths[0]) | lengths.is_null(), path, "codes", f"{lengths[0]} codes", frame["codes"]
    )
    spelled = pl.Series([sid_string(codes) for codes in frame["codes"]], dtype=pl.String)
    refuse_rows(frame["sid"].ne_missing(spelled), path, "sid", "the codes of its row as tokens", frame["sid"])
    refuse_rows(~frame["sid"].is_first_distinct(), path, "sid", "unique semantic IDs", frame["sid"])
    refuse_rows(~frame["item_id"].is_first_distinct(), path, "item_id", "unique item ids", frame["item_id"])
    if item_ids is not None and not frame["item_id"].equals(item_ids):
        raise InputError(f"{path}: column 'item_id': expected the items of the items file in its order")
    return frame


def read_slates(path: str | Path, item_ids: pl.Series | None = None) -> pl.DataFrame:
    """`slate_id`, `user_id`, `history`, `candidates`, `labels`, optional `scores` and `facts`, `split`; lists are ordered."""
    return check_slates(read_table(path), path, item_ids)


def check_slates(frame: pl.DataFrame, path: str | Path, item_ids: pl.Series | None = None) -> pl.DataFrame:
    """The content of a slates file in its types; InputError as for `read_slates`. `path` is the file to name."""
    require_columns(frame, path, ("slate_id", "user_id", "history", "candidates", "labels", "split"))
    ids = [as_id(frame, path, name).alias(name) for name in ("slate_id", "user_id")]
    frame = frame.with_columns(*ids, *list_casts(frame, path))
    refuse_rows(~frame["slate_id"].is_first_distinct(), path, "slate_id", "unique slate ids", frame["slate_id"])
    refuse_rows(frame["history"].list.len() == 0, path, "history", "at least one item", frame["history"])
    candidates, sizes = frame["candidates"], frame["candidates"].list.len()
    refuse_rows(sizes == 0, path, "candidates", "at least one item", candidates)
    refuse_rows(candidates.list.n_unique() != sizes, path, "candidates", "no item twice", candidates)
    lengths = frame["labels"].list.len()
    refuse_rows(
        (lengths != sizes) & (lengths != 0), path, "labels", "one label per candidate, or none", frame["labels"]
    )
    if "scores" in frame.columns:
        lengths = frame["scores"].list.len()
        refuse_rows((lengths != sizes) & (lengths != 0), path, "scores", "one score per candidate", frame["scores"])
    if "facts" in frame.columns:
        if frame["facts"].dtype != pl.List(pl.Struct):
            raise InputError(f"{path}: column 'facts': expected a list of mappings, found {frame['facts'].dtype}")
        refuse_rows(frame["facts"].list.len() != sizes, path, "facts", "one mapping per candidate", frame["facts"])
    for name in sorted({"labels", "scores"} & set(frame.columns)):
        finite = frame[name].list.eval(pl.element().is_finite().fill_null(False)).list.all()
        refuse_rows(~finite, path, name, "finite numbers", frame[name])
    refuse_rows(
        ~frame["split"].is_in(list(SLATE_SPLITS)), path, "split", f"one of {', '.join(SLATE_SPLITS)}", frame["split"]
    )
    for name in ("history", "candidates"):
        refuse_rows(
            frame[name].list.eval(pl.element().is_null()).list.any(), path, name, "no missing item", frame[name]
        )
        if item_ids is not None:
            unknown = ~frame[name].list.eval(pl.element().is_in(item_ids.implode())).list.all()
            refuse_rows(unknown, path, name, "items of the items file", frame[name])
    return frame


def list_casts(frame: pl.DataFrame, path: str | Path) -> list[pl.Expr]:
    """The list columns of slates in their types; InputError for a column that holds no lists."""
    types = {"history": pl.String, "candidates": pl.String, "labels": pl.Float64, "scores": pl.Float64}
    casts = []
    for name in sorted(types.keys() & set(frame.columns)):
        if not isinstance(frame[name].dtype, pl.List):
            raise InputError(f"{path}: column '{name}': expected lists, found {frame[name].dtype}")
        casts.append(pl.col(name).cast(pl.List(types[name]), strict=False))
    return casts


def read_rankings(path: str | Path, slates: pl.DataFrame) -> pl.DataFrame:
    """`slate_id`, `ranking`, `valid`, ... in the order of `slates`; each ranking must permute its slate's candidates."""
    frame = read_table(path)
    require_columns(frame, path, ("slate_id", "ranking", "valid"))
    if not isinstance(frame["ranking"].dtype, pl.List):
        raise InputError(f"{path}: column 'ranking': expected lists, found {frame['ranking'].dtype}")
    ids = pl.List(pl.String)
    frame = frame.with_columns(as_id(frame, path, "slate_id").alias("slate_id"), pl.col("ranking").cast(ids))
    refuse_rows(~frame["slate_id"].is_first_distinct(), path, "slate_id", "one row per slate", frame["slate_id"])
    missing = set(slates["slate_id"]) - set(frame["slate_id"])
    if missing:
        raise InputError(f"{path}: column 'slate_id': expected a row for every slate; {len(missing)} are missing, "
                         f"'{min(missing)}' among them")  # fmt: skip
    asked = frame.select("slate_id").join(slates.select("slate_id", "candidates"), on="slate_id", how="left",
                                          maintain_order="left")["candidates"]  # fmt: skip
    wrong = (frame["ranking"].list.sort() != asked.list.sort()).fill_null(True)
    refuse_rows(
        wrong & asked.is_not_null(), path, "ranking", "a permutation of the slate's candidates", frame["ranking"]
    )
    return slates.select("slate_id").join(frame, on="slate_id", maintain_order="left")
