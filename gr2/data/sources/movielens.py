"""MovieLens folders as GroupLens publishes them: 100k, 1M and 10M, latest, 20M, 25M and 32M."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from gr2.data.sources.source import Source, refuse_odd_csv, select_from
from gr2.errors import InputError
from gr2.files.columns import cast_ids, refuse_rows, require_columns
from gr2.files.times import set_unit

COLUMNS = ("user_id", "item_id", "rating", "timestamp")  # in every release's order
GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
NONE = ("", "unknown", "(no genres listed)")


def movielens(folder: str) -> Source:
    """The release is recognised by its files."""
    if not Path(folder).is_dir():
        raise InputError(f"--folder {folder}: expected a folder, an unpacked release of MovieLens")
    path = Path(folder)
    releases = [
        ("u.data", "u.item", read_100k),
        ("ratings.dat", "movies.dat", read_dat),
        ("ratings.csv", "movies.csv", read_csv),
    ]
    for ratings, films, read in releases:
        if (path / ratings).is_file() and (path / films).is_file():
            interactions, items = read(path / ratings, path / films)
            twice = ~items["item_id"].is_first_distinct() | (items["item_id"] == "")
            refuse_rows(twice, path / films, "item_id", "unique item ids", items["item_id"])
            return Source(check_ratings(interactions, path / ratings, items), select_from(items))
    raise InputError(f"{path}: expected u.data and u.item, ratings.dat and movies.dat, or ratings.csv and movies.csv")


def read_100k(ratings: Path, films: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = []
    for item_id, title, _, _, _, *flags in read_film_lines(films, "|", 5 + len(GENRES_100K)):
        rows.append((item_id, title, [name for name, flag in zip(GENRES_100K, flags, strict=True) if flag == "1"]))
    return read_as_text(ratings, separator="\t", has_header=False), make_items(rows)


def read_dat(ratings: Path, films: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`::` between fields: with `:` as separator every second column is empty."""
    frame = read_as_text(ratings, separator=":", has_header=False)[:, ::2]
    rows = [(item_id, title, genres.split("|")) for item_id, title, genres in read_film_lines(films, "::", 3)]
    return frame, make_items(rows)


def read_csv(ratings: Path, films: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    frame, items = read_as_text(ratings), read_as_text(films)
    refuse_odd_csv(items, films, b",")
    require_columns(frame, ratings, ("userId", "movieId", "rating", "timestamp"))
    require_columns(items, films, ("movieId", "title", "genres"))
    rows = items.select(cast_ids(items, films, "movieId"), pl.col("title", "genres").fill_null("")).iter_rows()
    rows = [(item_id, title, genres.split("|")) for item_id, title, genres in rows]
    return frame.select("userId", "movieId", "rating", "timestamp"), make_items(rows)


def read_as_text(path: Path, **options) -> pl.DataFrame:
    """Converts nothing, so that a bad value can be named by its row."""
    try:
        return pl.read_csv(path, infer_schema=False, **options)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: not a readable file of MovieLens ({str(error).splitlines()[0]})") from None


def read_film_lines(path: Path, separator: str, count: int) -> Iterator[list[str]]:
    """100k and 1M are in Latin-1, 10M is in UTF-8."""
    raw = path.read_bytes()
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    for row, line in enumerate(text.rstrip("\r\n").split("\n")):  # str.splitlines would end a line at more than \n
        fields = line.rstrip("\r").split(separator)
        if len(fields) != count:
            expected = f"{count} fields with {separator} between"
            raise InputError(f"{path}: row {row}: expected {expected}, found {len(fields)}")
        yield fields


def check_ratings(frame: pl.DataFrame, path: Path, items: pl.DataFrame) -> pl.DataFrame:
    """Ratings in their types. frame: as text, in the order of COLUMNS; InputError for a value that is none."""
    if frame.width != len(COLUMNS):
        raise InputError(f"{path}: row 0: expected {', '.join(COLUMNS)}, found {frame.width} fields")
    frame.columns = COLUMNS
    ids = [cast_ids(frame, path, "user_id"), cast_ids(frame, path, "item_id")]
    refuse_rows(~ids[1].is_in(items["item_id"].implode()), path, "item_id", "an item of the list of films", ids[1])
    numbers = [frame["rating"].cast(pl.Float64, strict=False), frame["timestamp"].cast(pl.Int64, strict=False)]
    for column in numbers:
        refuse_rows(column.is_null() | ~column.is_finite(), path, column.name, "a number", frame[column.name])
    return set_unit(pl.DataFrame(ids + numbers), path, "seconds")


def make_items(rows: list[tuple[str, str, list[str]]]) -> pl.DataFrame:
    schema = {"item_id": pl.String, "title": pl.String, "categories": pl.List(pl.String)}
    named = [(item_id, title, [name for name in genres if name not in NONE]) for item_id, title, genres in rows]
    return pl.DataFrame(named, schema, orient="row")
