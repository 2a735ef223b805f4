"""The parquet files that stages exchange: read + validate, and write whole.

Every reader raises InputError with file, row (counted from 0), column and expectation. Ids are strings.
"""

from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import (
    as_id,
    exact,
    read_table,
    refuse_elements,
    refuse_rows,
    require_columns,
    table_ending,
    whole_numbers,
)
from gr2.files.schema import EVENTS, ITEMS, NUMBERS, RANKINGS, SEMANTIC_IDS, SLATES, TEXT, TEXTS, TOP_K, typed
from gr2.files.sid_tokens import LETTERS, sid_string
from gr2.files.times import with_times

SPLITS = ("pretrain", "train", "valid", "test")  # of interactions; slates have the last three
SLATE_SPLITS = SPLITS[1:]
# Sums of squares of these stay finite, also in 32 bits.
LARGEST_LABEL, LARGEST_SCORE = 1e12, 1e15


def read_items(path: str | Path, names: dict[str, str] | None = None) -> pl.DataFrame:
    """`item_id`, `title`, optional `description`, `categories` (list of strings), other columns as they are."""
    frame = read_table(path, names)
    require_columns(frame, path, ("item_id", "title"))
    if "categories" in frame.columns and frame["categories"].dtype == pl.String:  # CSV has no lists: `Comedy|Drama`
        frame = frame.with_columns(pl.col("categories").str.split("|"))
    frame = typed(frame, path, ITEMS)
    frame = frame.with_columns(as_id(frame, path, "item_id"))
    refuse_rows(~frame["item_id"].is_first_distinct(), path, "item_id", "unique item ids", frame["item_id"])
    if table_ending(path) in (".csv", ".tsv"):  # `,,` and `,"",` are the same there
        frame = frame.with_columns(pl.col("title").fill_null(""))
    refuse_rows(frame["title"].is_null(), path, "title", "a title (it may be empty)", frame["title"])
    if "categories" not in frame.columns:
        return frame
    named = pl.col("categories").fill_null([]).list.eval(pl.element().filter(pl.element() != ""))
    return frame.with_columns(named)


def read_interactions(path: str | Path, item_ids: pl.Series | None = None) -> pl.DataFrame:
    """Events of `gr2 prepare`: as `read_events` has them, with `split` where the file has it.

    With `item_ids`, refuses an event whose item is not among them.
    """
    frame = read_events(path, item_ids)
    if "split" in frame.columns:
        splits = exact(frame["split"], path, TEXT)
        refuse_rows(~splits.is_in(SPLITS), path, "split", f"one of {', '.join(SPLITS)}", frame["split"])
        frame = frame.with_columns(splits)
    return frame


def read_events(
    path: str | Path, item_ids: pl.Series | None = None, names: dict[str, str] | None = None
) -> pl.DataFrame:
    """`user_id`, `item_id`, `timestamp` (int, seconds; see `data.times`) or `position` (int), optional `rating`, and whatever
    else the file holds.
    """
    frame = read_table(path, names)
    require_columns(frame, path, ("user_id", "item_id"))
    if not {"timestamp", "position"} & set(frame.columns):
        raise InputError(
            f"{path}: expected a column 'timestamp' (seconds) or 'position'; it has {', '.join(frame.columns)}"
        )
    frame = frame.with_columns(as_id(frame, path, "user_id"), as_id(frame, path, "item_id"))
    frame = typed(frame, path, EVENTS)
    if "timestamp" in frame.columns:
        frame = with_times(frame, path)
    if "position" in frame.columns:
        frame = frame.with_columns(whole_numbers(frame, path, "position"))
    if "rating" in frame.columns:
        finite = frame["rating"].is_finite() | frame["rating"].is_null()
        refuse_rows(~finite, path, "rating", "a finite number, or none", frame["rating"])
    if item_ids is not None:
        unknown = ~frame["item_id"].is_in(item_ids.implode())
        refuse_rows(unknown, path, "item_id", "an item of the items file", frame["item_id"])
    return frame


def read_semantic_ids(path: str | Path, item_ids: pl.Series | None = None) -> pl.DataFrame:
    """`item_id`, `codes` (list of int, one per level), `sid` (token string); IDs must be unique and of one length."""
    frame = read_table(path)
    require_columns(frame, path, ("item_id", "codes", "sid"))
    frame = typed(frame, path, SEMANTIC_IDS)
    if frame.is_empty():
        raise InputError(f"{path}: column 'codes': expected a list of whole numbers for each item, found no item")
    frame = frame.with_columns(as_id(frame, path, "item_id"))
    codes, lengths = frame["codes"], frame["codes"].list.len()
    expected = f"1 to {len(LETTERS)} codes, one a level"
    refuse_rows(~lengths.is_between(1, len(LETTERS)), path, "codes", expected, codes)
    refuse_rows(lengths != lengths[0], path, "codes", f"{lengths[0]} codes", codes)
    refuse_elements(codes, pl.element() >= 0, path, "codes of at least 0")
    spelled = pl.Series([sid_string(row) for row in codes.to_list()], dtype=pl.String)
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
    frame = typed(frame, path, SLATES)
    frame = frame.with_columns(as_id(frame, path, "slate_id"), as_id(frame, path, "user_id"))
    refuse_rows(~frame["slate_id"].is_first_distinct(), path, "slate_id", "unique slate ids", frame["slate_id"])
    refuse_rows(frame["history"].list.len() == 0, path, "history", "at least one item", frame["history"])
    candidates, sizes = frame["candidates"], frame["candidates"].list.len()
    refuse_rows(sizes == 0, path, "candidates", "at least one item", candidates)
    refuse_rows(candidates.list.n_unique() != sizes, path, "candidates", "no item twice", candidates)
    lengths = frame["labels"].list.len()
    refuse_rows(
        (lengths != sizes) & (lengths != 0), path, "labels", "one label per candidate, or none", frame["labels"]
    )
    good = pl.element().is_finite() & pl.element().is_between(0, LARGEST_LABEL)
    refuse_elements(frame["labels"], good, path, f"finite numbers from 0 to {LARGEST_LABEL:g}")
    if "scores" in frame.columns:
        lengths = frame["scores"].list.len()
        refuse_rows((lengths != sizes) & (lengths != 0), path, "scores", "one score per candidate", frame["scores"])
        good = pl.element().is_finite() & (pl.element().abs() <= LARGEST_SCORE)
        refuse_elements(frame["scores"], good, path, f"finite numbers from -{LARGEST_SCORE:g} to {LARGEST_SCORE:g}")
    if "facts" in frame.columns:
        if frame["facts"].dtype != pl.List(pl.Struct):
            raise InputError(f"{path}: column 'facts': expected a list of mappings, found {frame['facts'].dtype}")
        refuse_rows(frame["facts"].list.len() != sizes, path, "facts", "one mapping per candidate", frame["facts"])
    refuse_rows(~frame["split"].is_in(SLATE_SPLITS), path, "split", f"one of {', '.join(SLATE_SPLITS)}", frame["split"])
    for name in ("history", "candidates"):
        refuse_elements(frame[name], pl.element() != "", path, "no missing item")
        if item_ids is not None:
            refuse_elements(frame[name], pl.element().is_in(item_ids.implode()), path, "items of the items file")
    return frame


def list_casts(frame: pl.DataFrame, path: str | Path) -> list[pl.Series]:
    """The list columns of a pre-ranker's lists in their types; InputError for a column that holds no such lists."""
    lists = {name: kind for name, kind in TOP_K.items() if kind in (TEXTS, NUMBERS)}
    return [exact(frame[name], path, lists[name]) for name in lists if name in frame.columns]


def read_rankings(path: str | Path, slates: pl.DataFrame, advice: str = "") -> pl.DataFrame:
    """`slate_id`, `ranking`, `valid`, ... in the order of `slates`; each ranking must permute its slate's candidates.

    advice: what to do where slates are missing, for the end of the sentence.
    """
    frame = read_table(path)
    require_columns(frame, path, ("slate_id", "ranking", "valid"))
    frame = typed(frame, path, RANKINGS)
    frame = frame.with_columns(as_id(frame, path, "slate_id"))
    refuse_rows(frame["valid"].is_null(), path, "valid", "true or false", frame["valid"])
    if "completion_tokens" in frame.columns:
        counts = frame["completion_tokens"]
        refuse_rows(counts.fill_null(0) < 0, path, "completion_tokens", "a number of at least 0, or none", counts)
    refuse_rows(~frame["slate_id"].is_first_distinct(), path, "slate_id", "one row per slate", frame["slate_id"])
    missing = set(slates["slate_id"]) - set(frame["slate_id"])
    if missing:
        raise InputError(f"{path}: column 'slate_id': expected a row for every slate; {len(missing)} are missing, "
                         f"'{min(missing)}' among them{advice}")  # fmt: skip
    asked = frame.select("slate_id").join(slates.select("slate_id", "candidates"), on="slate_id", how="left",
                                          maintain_order="left")["candidates"]  # fmt: skip
    wrong = (frame["ranking"].list.sort() != asked.list.sort()).fill_null(True)
    refuse_rows(
        wrong & asked.is_not_null(), path, "ranking", "a permutation of the slate's candidates", frame["ranking"]
    )
    return slates.select("slate_id").join(frame, on="slate_id", maintain_order="left")
