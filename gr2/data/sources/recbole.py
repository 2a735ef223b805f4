"""RecBole's atomic files, which LLMRank uses too: NAME.inter and NAME.item, tab-separated, columns named `name:type`.

LLMRank's candidates (NAME.random, NAME.bm25, ...) are lists of a ranker: `gr2 slates --pre_ranker file` reads them.
"""

import re
from pathlib import Path

import polars as pl

from gr2.data.sources.source import Source, refuse_odd_csv, select_from
from gr2.errors import InputError
from gr2.files.columns import cast_ids, refuse_rows, require_columns
from gr2.files.interactions import check_events

TITLES = ("title", "movie_title", "name", "item_name")
CATEGORIES = ("categories", "category", "class", "genre", "genres")
QUOTED = re.compile(r"""(['"])(.+?)\1(?=[],]|$)""")  # as Python quotes: "Women's" where a name has an apostrophe


def recbole(folder: str) -> Source:
    """Events of the folder's .inter file, with `rating` where it has one, and items of its .item file."""
    if not Path(folder).is_dir():
        raise InputError(f"--folder {folder}: expected a folder with one .inter and one .item file")
    path, item_path = find_one(Path(folder), ".inter"), find_one(Path(folder), ".item")
    events, catalogue = read_atomic(path), make_items(read_atomic(item_path), item_path)
    require_columns(events, path, ("user_id", "item_id", "timestamp"))
    wanted = [name for name in ("user_id", "item_id", "timestamp", "rating") if name in events.columns]
    return Source(check_events(events.select(wanted), path, catalogue["item_id"]), select_from(catalogue))


def find_one(folder: Path, ending: str) -> Path:
    """The folder's only file with this ending."""
    files = sorted(folder.glob(f"*{ending}"))
    if len(files) != 1:
        raise InputError(f"{folder}: expected one {ending} file, found {len(files)}")
    return files[0]


def read_atomic(path: Path) -> pl.DataFrame:
    """Columns without their types; `float` as numbers, all others as text."""
    try:
        frame = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: not a readable tab-separated file ({str(error).splitlines()[0]})") from None
    refuse_odd_csv(frame, path, b"\t")
    columns = []
    for text in frame:
        name, _, kind = text.name.partition(":")
        if not kind:
            raise InputError(f"{path}: column '{text.name}': expected a name and a type, like user_id:token")
        column = text.cast(pl.Float64, strict=False) if kind == "float" else text
        refuse_rows(column.is_null() & text.is_not_null(), path, text.name, "a number", text)
        columns.append(column.alias(name))
    return pl.DataFrame(columns)


def make_items(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """`item_id`, `title` (with the release year where there is one), and `categories` where the file has them.

    Titles and categories are read from the first of the columns TITLES and CATEGORIES; the first row of an id counts.
    """
    require_columns(frame, path, ("item_id",))
    title = next((name for name in TITLES if name in frame.columns), None)
    if title is None:
        expected = f"a column for titles, one of {', '.join(TITLES)}"
        raise InputError(f"{path}: expected {expected}; it has {', '.join(frame.columns)}")
    year = pl.format(" ({})", "release_year").fill_null("") if "release_year" in frame.columns else pl.lit("")
    titles = frame.select((pl.col(title).fill_null("") + year).alias("title")).to_series()
    columns = [cast_ids(frame, path, "item_id"), titles]
    category = next((name for name in CATEGORIES if name in frame.columns), None)
    if category:
        lists = [split_category(text or "") for text in frame[category]]
        columns.append(pl.Series("categories", lists, dtype=pl.List(pl.String)))
    return pl.DataFrame(columns).unique("item_id", keep="first", maintain_order=True)


def split_category(text: str) -> list[str]:
    """`Animation Comedy` and Amazon's `'Pet Supplies', 'Dogs'` -> two names each."""
    if text.startswith(("'", '"', "[")):
        return [name for _, name in QUOTED.findall(text)]
    return text.split()
