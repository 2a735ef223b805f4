"""top_k.parquet: a ranker's list for each position of a user, by `gr2 slates --depth` or a ranker of the user's own."""

from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import cast_ids, cast_whole, read_table, refuse_rows, require_columns
from gr2.files.paths import is_table, table_ending
from gr2.files.schema import NUMBERS, TEXT, TEXTS, WHOLE, Types, cast_columns
from gr2.files.sources import check_sources
from gr2.files.times import FINE, add_times

TOP_K: Types = {"user_id": TEXT, "position": WHOLE, "candidates": TEXTS, "scores": NUMBERS}


def read_top_k(
    path: str,
    item_ids: pl.Series,
    positions: pl.DataFrame,
    events: pl.DataFrame | None = None,
    names: dict[str, list[str]] | None = None,
) -> pl.DataFrame:
    """`user_id`, `position`, `candidates` (best first), `scores` that do not rise, and `sources` as in slates.parquet
    where the file has them; InputError names the first bad row.

    Without scores in the file they are minus the rank, counted from 0. With a `timestamp` in place of `position`, see
    `look_up_positions`; events: `user_id`, `position`, `timestamp`. names: see `read_table`. A file with another
    ending than a table's is LLMRank's: `user<TAB>item item item`, for each user's last one of the `positions`
    (`user_id`, `position`).
    """
    table = read_own_lists(path, names or {}) if is_table(path) else read_llmrank(path, positions)
    require_columns(table, path, ("user_id", "candidates"))
    table = table.with_columns(cast_ids(table, path, "user_id"))
    if "position" not in table.columns and "timestamp" in table.columns and events is not None:
        require_columns(events, "interactions", ("timestamp",))
        table = look_up_positions(table, path, events)
    require_columns(table, path, ("position",))
    table = table.with_columns(cast_whole(table, path, "position"))
    table = cast_columns(table, path, TOP_K)
    twice = ~table.select(pl.struct("user_id", "position").is_first_distinct()).to_series()
    refuse_rows(twice, path, "position", "one list per user and position", table["position"])
    candidates, sizes = table["candidates"], table["candidates"].list.len()
    known = candidates.list.eval(pl.element().is_in(item_ids.implode()).fill_null(False)).list.all()
    good = known & (candidates.list.n_unique() == sizes)
    refuse_rows(~good, path, "candidates", "distinct items of the items file", candidates)
    if "scores" not in table.columns:
        ranks = pl.int_ranges(pl.col("candidates").list.len()).cast(pl.List(pl.Float64)).list.eval(-pl.element())
        table = table.with_columns(ranks.alias("scores"))
    finite = table["scores"].list.eval(pl.element().is_finite().fill_null(False)).list.all()
    fits = (table["scores"].list.len() == sizes) & finite
    refuse_rows(~fits, path, "scores", "a finite score per candidate", table["scores"])
    rises = table["scores"].list.eval(pl.element().diff() > 0).list.any()
    refuse_rows(rises, path, "scores", "scores that do not rise: the best candidate comes first", table["scores"])
    check_sources(table, path)
    return table.select(name for name in (*TOP_K, "sources") if name in table.columns)


def read_own_lists(path: str, names: dict[str, list[str]]) -> pl.DataFrame:
    """CSV and TSV, which have no lists, have `item|item` and `score|score`."""
    table = read_table(path, names)
    if table_ending(path) not in (".csv", ".tsv"):
        return table
    split = [name for name in ("candidates", "scores") if table.schema.get(name) == pl.String]
    table = table.with_columns(pl.col(split).str.split("|"))
    return table.with_columns(pl.col(set(split) & {"scores"}).cast(pl.List(pl.Float64), strict=False))


def look_up_positions(table: pl.DataFrame, path: str, events: pl.DataFrame) -> pl.DataFrame:
    """The lists with the position of the first event of their user at their `timestamp` or later, in whole seconds.

    Of several lists for an event the latest counts: the last that the user was shown before it. Lists without a later
    event are left out, too. Prints how many these are.
    """
    timed = add_times(table, path).with_row_index("row").sort("timestamp", "row")
    known = events.select("user_id", "timestamp", "position").sort("timestamp", "position")
    found = timed.join_asof(known, on="timestamp", by="user_id", strategy="forward", check_sortedness=False)
    later = found.filter(pl.col("position").is_not_null())
    lists = later.unique(["user_id", "position"], keep="last", maintain_order=True).sort("row")
    if len(lists) < len(table):
        print(f"{path}: lists without a later event of their user: {len(table) - len(later)}; followed by another list "
              f"before the event: {len(later) - len(lists)}; {len(lists)} count")  # fmt: skip
    return lists.drop("row", "timestamp", FINE, strict=False)


def read_llmrank(path: str, positions: pl.DataFrame) -> pl.DataFrame:
    """Lines `user<TAB>item item ...` of LLMRank's NAME.random or NAME.bm25 as a table with a row a line. Users without
    a position keep an empty list, at a position that no user has: -1, -2, ...
    """
    last = dict(positions.group_by("user_id").agg(pl.col("position").max()).iter_rows())
    rows = []
    try:
        lines = Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        expected = "a table, or text with a user, a tab and items in each line"
        raise InputError(f"{path}: expected {expected}, but {error}") from None
    for row, line in enumerate(lines):
        user, tab, items = line.partition("\t")
        if not (user and tab and items.split()):
            raise InputError(f"{path}: row {row}: expected a user, a tab and items, found {line[:80]!r}")
        known = user in last
        rows.append((user, last[user] if known else -1 - row, items.split() if known else []))
    schema = {"user_id": pl.String, "position": pl.Int64, "candidates": pl.List(pl.String)}
    return pl.DataFrame(rows, schema, orient="row")
