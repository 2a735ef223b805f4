"""The parquet files that stages exchange: read + validate, and write whole.

Every reader raises InputError with file, row (counted from 0), column and expectation. Ids are strings.
"""

import functools
import gzip
import zlib
from pathlib import Path

import polars as pl

from gr2.artifacts import write_whole
from gr2.errors import InputError
from gr2.semantic_ids.tokens import sid_string

SPLITS = ("pretrain", "train", "valid", "test")  # of interactions; slates have the last three
SLATE_SPLITS = SPLITS[1:]
TABLES = (".parquet", ".jsonl", ".ndjson", ".csv", ".tsv")  # endings of files with rows and columns
CSV_TEXTS = ("user_id", "item_id", "slate_id", "title", "description", "categories")  # else `007` would be read as 7


def read_table(path: str | Path, names: dict[str, str] | None = None) -> pl.DataFrame:
    """Reads parquet, JSON lines, CSV or TSV by the file's ending, `.gz` too; InputError where it cannot be read.

    names: our name -> the file's own; those of its columns are renamed, where it has them, and take the place of a column
    that already has our name.
    """
    path, names = Path(path), names or {}
    whole = {"infer_schema_length": None}  # types are inferred from all rows
    ndjson = functools.partial(pl.read_ndjson, **whole)
    texts = dict.fromkeys((names.get(name, name) for name in CSV_TEXTS), pl.String)
    csv = functools.partial(pl.read_csv, schema_overrides=texts, **whole)
    tsv = functools.partial(csv, separator="\t")
    readers = dict(zip(TABLES, (pl.read_parquet, ndjson, ndjson, csv, tsv), strict=True))
    ending = table_ending(path)
    if not is_table(path) or (path.suffix == ".gz" and ending == ".parquet"):
        raise InputError(f"{path}: expected a file ending in {', '.join(TABLES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        source = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path
        frame = readers[ending](source)
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a readable {ending[1:]} file ({str(error).splitlines()[0]})") from None
    present = {ours: theirs for ours, theirs in names.items() if theirs in frame.columns}
    others = [name for name in frame.columns if name not in {*present.keys(), *present.values()}]
    return frame.select(*(pl.col(theirs).alias(ours) for ours, theirs in present.items()), *others)


def is_table(path: str | Path) -> bool:
    return table_ending(path) in TABLES


def table_ending(path: str | Path) -> str:
    path = Path(path)
    return Path(path.stem if path.suffix == ".gz" else path).suffix


def write_parquet(frame: pl.DataFrame, path: str | Path, metadata: dict[str, str] | None = None) -> None:
    with write_whole(path) as aside:
        frame.write_parquet(aside, metadata=metadata)


def require_columns(frame: pl.DataFrame, path: str | Path, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in frame.columns:
            raise InputError(f"{path}: column '{name}' is missing; it has {', '.join(frame.columns)}")


def refuse_rows(bad: pl.Series, path: str | Path, column: str, expectation: str, values: pl.Series) -> None:
    """Raises InputError naming the first row where `bad` is true."""
    rows = bad.fill_null(True).arg_true()
    if len(rows):
        more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        raise InputError(f"{path}: row {rows[0]}, column '{column}': expected {expectation}, "
                         f"found {_shown(values[rows[0]])}{more}")  # fmt: skip


def as_id(frame: pl.DataFrame, path: str | Path, name: str) -> pl.Series:
    """A column of ids as strings; refuses nulls and empty ids."""
    ids = frame[name].cast(pl.String)
    refuse_rows(ids.is_null() | (ids == ""), path, name, "an id", frame[name])
    return ids


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


def seconds(times: pl.Series, path: str | Path) -> pl.Series:
    """Dates and times, also written out (`2024-01-31 12:00:00`), as seconds since 1970; numbers, also as text, stay."""
    if times.dtype == pl.String:
        parsed = times.cast(pl.Int64, strict=False)
        if parsed.is_null().all():
            parsed = dates(times)
        refuse_rows(
            parsed.is_null() | ~times.str.contains(r"^(\d{4}\D|-?\d+$)"),  # 02/01/2024 is two dates
            path,
            "timestamp",
            "seconds since 1970, or a date and time like 2024-01-31 12:00:00",
            times,
        )
        times = parsed.alias("timestamp")
    return times.dt.epoch("s") if times.dtype in (pl.Date, pl.Datetime) else times


def dates(texts: pl.Series) -> pl.Series:
    """Null where a text is not of the form that the column's first texts have."""
    try:
        return texts.str.to_datetime(strict=False)
    except pl.exceptions.PolarsError:  # of no form that it knows
        return pl.Series([None] * len(texts), dtype=pl.Datetime)


def whole_numbers(frame: pl.DataFrame, path: str | Path, name: str) -> pl.Series:
    """A column as int64; refuses nulls, NaN, infinities and fractions."""
    values = frame[name]
    if not values.dtype.is_numeric():
        raise InputError(f"{path}: column '{name}': expected whole numbers, found {values.dtype}")
    whole = values.cast(pl.Int64, strict=False)
    bad = whole.is_null()
    if values.dtype.is_float():
        bad = bad | ~values.is_finite() | (values != values.floor())
    refuse_rows(bad, path, name, "a whole number", values)
    return whole


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
    """`slate_id`, `user_id`, `history`, `candidates`, `labels`, optional `scores`, `split`; lists are ordered."""
    frame = read_table(path)
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


def _shown(value: object) -> str:
    text = repr(value.to_list() if isinstance(value, pl.Series) else value)
    return text if len(text) <= 80 else text[:77] + "..."
