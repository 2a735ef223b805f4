"""Amazon's review data as their hosts publish them: reviews and metadata of 2014, 2018 and 2023, streamed.

2014 (McAuley): reviews_X.json.gz, and meta_X.json.gz whose lines are Python literals. 2018 (Ni): X.json.gz,
meta_X.json.gz. 2023 (Hou): X.jsonl.gz, meta_X.jsonl.gz. The year is recognised by the first line.
"""

import ast
import io
import json
import re
from pathlib import Path

import polars as pl

from gr2.data.sources.source import Source, read_blocks
from gr2.errors import InputError
from gr2.files.times import set_unit

OLD = {"reviewerID": pl.String, "asin": pl.String, "unixReviewTime": pl.Int64, "overall": pl.Float64}  # 2014, 2018
NEW = {"user_id": pl.String, "parent_asin": pl.String, "timestamp": pl.Int64, "rating": pl.Float64}  # 2023, in ms
TEXT = pl.String()
META = {"item_id": TEXT, "title": TEXT, "description": TEXT, "categories": pl.List(TEXT), "brand": TEXT}
ID = re.compile(rb"""["'](?:parent_asin|asin)["']:\s*["']([^"'\\]+)["']""")


def amazon(reviews: str, meta: str) -> Source:
    """Reads the reviews file now, and of the metadata file the wanted items once they are known."""
    if not Path(meta).is_file():
        raise InputError(f"{meta}: no such file")
    return Source(read_reviews(Path(reviews)), lambda wanted, every=False: read_meta(Path(meta), wanted, every))


def read_reviews(path: Path) -> pl.DataFrame:
    """`user_id`, `item_id`, `timestamp`, `rating`, and of 2023 `timestamp_ns`; a repeated review counts once."""
    schema, parts = None, []
    for first, lines in read_blocks(path):
        schema = schema or (OLD if b'"reviewerID"' in lines[0] else NEW)
        parts.append(parse_reviews(lines, schema, path, first))
    if not parts:
        raise InputError(f"{path}: expected reviews, found an empty file")
    frame = pl.concat(parts)
    frame.columns = ["user_id", "item_id", "timestamp", "rating"]
    frame = set_unit(frame, path, "milliseconds" if schema is NEW else "seconds")
    return frame.unique(["user_id", "item_id", "timestamp"], keep="first", maintain_order=True)


def parse_reviews(lines: list[bytes], schema: dict, path: Path, first: int) -> pl.DataFrame:
    """A block's reviews as columns of `schema`. first: the row number of its first line. InputError names a bad row."""
    expected = f"expected a JSON object with {', '.join(schema)}"
    try:
        frame = pl.read_ndjson(io.BytesIO(b"".join(lines)), schema=schema)
    except pl.exceptions.PolarsError:
        row, reason = find_broken(lines, schema)
        raise InputError(f"{path}: row {first + row}: {expected} ({reason})") from None
    for name in list(schema)[:3]:  # a rating may be missing
        missing = (frame[name].is_null() | (frame[name].cast(pl.String) == "")).arg_true()
        if len(missing):
            row = [row for row, line in enumerate(lines) if line.strip()][missing[0]]
            raise InputError(f"{path}: row {first + row}, column '{name}': {expected}, found no {name}")
    return frame


def find_broken(lines: list[bytes], schema: dict) -> tuple[int, str]:
    """The first line that cannot be read by itself, and why."""
    for row, line in enumerate(lines):
        try:
            pl.read_ndjson(io.BytesIO(line), schema=schema)
        except pl.exceptions.PolarsError as error:
            return row, str(error).splitlines()[0]
    return 0, "the lines from here on cannot be read together"


def read_meta(path: Path, wanted: pl.Series, every: bool = False) -> pl.DataFrame:
    """`item_id`, `title`, `description`, `categories`, `brand` of the wanted items or, with `every`, of all.

    Only lines that name a wanted item are parsed. Those without metadata get an empty title; their number is printed.
    """
    ids, rows = set(wanted.to_list()), {}
    in_bytes = {item_id.encode() for item_id in ids}
    for first, lines in read_blocks(path):
        for row, line in enumerate(lines, first):
            if (every and line.strip()) or not in_bytes.isdisjoint(ID.findall(line)):  # in its own id, or in a text
                meta = parse(line, path, row)
                item_id = read_text(meta.get("parent_asin", meta.get("asin")), path, row, "asin")
                if item_id not in rows and ((every and item_id) or item_id in ids):
                    rows[item_id] = make_row(item_id, meta, path, row)
            elif line.strip() and not line.endswith((b"\n", b"}")):  # the last one
                expected = "expected a JSON object or a Python dict"
                raise InputError(f"{path}: row {row}: {expected}, found a line without its end")
    bare = ids - rows.keys()
    if bare:
        print(f"{len(bare)} of {len(ids)} items have no metadata; their titles are empty")
    rows |= {item_id: (item_id, "", "", [], "") for item_id in bare}
    return pl.DataFrame([rows[item_id] for item_id in sorted(rows)], META, orient="row")


def parse(line: bytes, path: Path, row: int) -> dict:
    try:
        meta = json.loads(line) if line.startswith(b'{"') else ast.literal_eval(line.decode())
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # the last two: nested too deeply
        meta = None
    if not isinstance(meta, dict):
        raise InputError(f"{path}: row {row}: expected a JSON object or a Python dict")
    return meta


def make_row(item_id: str, meta: dict, path: Path, row: int) -> tuple[str, str, str, list[str], str]:
    """A row of META: of 2014's nested categories the first path; a title of 2018 that is JavaScript is dropped."""
    title = read_text(meta.get("title"), path, row, "title")
    brand = read_text(meta.get("brand") or meta.get("store"), path, row, "brand")
    description = meta.get("description") or []
    parts = [description] if isinstance(description, str) else description
    categories = meta.get("categories") or meta.get("category") or []
    nested = isinstance(categories, list) and categories and isinstance(categories[0], list)
    first = categories[0] if nested else categories
    for name, texts in (("description", parts), ("categories", first)):
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{path}: row {row}, column '{name}': expected a list of texts, found {str(texts)[:80]!r}")
    return item_id, "" if "getTime" in title else title, " ".join(parts), first, brand


def read_text(value: object, path: Path, row: int, name: str) -> str:
    """A text; empty where it is missing."""
    if value is not None and not isinstance(value, str):
        raise InputError(f"{path}: row {row}, column '{name}': expected a text, found {str(value)[:80]!r}")
    return value or ""
