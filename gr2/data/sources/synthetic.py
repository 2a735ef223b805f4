"""A synthetic world of any size whose preferences are known, so that the best order of any slate is known too.

Items belong to genres. A user's next item is of genre g with probability proportional to
taste[user, g] * follows[last genre, g], and among the genre's items with probability `share`, which falls with rank by
Zipf's law. Nobody takes an item twice. So P(next = i) is proportional to
taste[user, genre[i]] * follows[genre[last], genre[i]] * share[i] over items not yet taken: `latent.safetensors` holds
these arrays. Row 7 belongs to `item007`; rows of items that the k-core drops are kept.
"""

import itertools

import numpy as np
import polars as pl

from gr2.data.sources.source import Source, select_from

GENRES = (
    "Adventure", "Biography", "Comedy", "Drama", "Essay", "Fantasy", "Gothic", "History", "Jazz", "Kitchen", "Legend",
    "Mystery", "Nature", "Opera", "Poetry", "Quest", "Romance", "Satire", "Travel", "Western",
)  # fmt: skip
SHARPNESS = 1.5  # standard deviation of the logits of `taste` and `follows`: larger = easier to predict
ZIPF = 0.8  # an item's share of its genre falls with its rank to this power
START = 1_500_000_000  # seconds; one event a minute


def synthetic(users: int, items: int, events: int, seed: int) -> Source:
    """`events` events for each user, less those that repeat an item. At least 20 items, one of each genre."""
    rng = np.random.default_rng(seed)
    genre = rng.integers(len(GENRES), size=items)
    genre[: len(GENRES)] = np.arange(len(GENRES))
    order = np.argsort(genre, kind="stable").astype(np.int32)
    first = np.searchsorted(genre[order], np.arange(len(GENRES) + 1))
    rank = np.arange(items) - first[genre[order]]  # within the genre
    weight = (rank + 1.0) ** -ZIPF
    total = np.add.reduceat(weight, first[:-1])
    share = np.empty(items)
    share[order] = weight / total[genre[order]]
    taste = np.exp(SHARPNESS * rng.normal(size=(users, len(GENRES))))
    follows = np.exp(SHARPNESS * rng.normal(size=(len(GENRES), len(GENRES))))
    taken = walk(taste, follows, order, first, share[order], events, rng)
    user, step = np.nonzero(taken >= 0)
    width = len(str(max(users, items) - 1))
    user_ids, item_ids = number_ids("user", users, width), number_ids("item", items, width)
    ids = {"user_id": user_ids.gather(user), "item_id": item_ids.gather(taken[user, step])}
    interactions = pl.DataFrame(ids | {"timestamp": START + 60 * step})
    titles = [f"{GENRES[g]} tale {row}" for row, g in enumerate(genre)]
    catalogue = pl.DataFrame({"item_id": item_ids, "title": titles, "categories": [[GENRES[g]] for g in genre]})
    latent = {"taste": taste, "follows": follows, "genre": genre, "share": share}
    arrays = {name: np.ascontiguousarray(array) for name, array in latent.items()}
    return Source(interactions, select_from(catalogue), arrays)


def walk(
    taste: np.ndarray,
    follows: np.ndarray,
    order: np.ndarray,
    first: np.ndarray,
    share: np.ndarray,
    events: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Items, int32 [users, events], -1 where a draw repeated an item; all users take each step together.

    taste: [users, genres]. follows: [genres, genres], from the last genre to the next. order: items [items] by genre.
    first: [genres + 1], the index in `order` at which a genre starts. share: [items], of the ordered items.
    """
    users = len(taste)
    # One increasing scale for all genres: that of genre g runs from g to g + 1.
    parts = [share[a:b].cumsum() / share[a:b].sum() + g for g, (a, b) in enumerate(itertools.pairwise(first))]
    scale = np.concatenate(parts)
    taken = np.full((users, events), -1, np.int32)
    last = np.full(users, -1)
    for step in range(events):
        odds = taste * np.where(last[:, None] >= 0, follows[last], 1.0)
        odds = odds.cumsum(1)
        genre = (odds < rng.random((users, 1)) * odds[:, -1:]).sum(1).clip(max=odds.shape[1] - 1)
        index = np.searchsorted(scale, genre + rng.random(users)).clip(first[genre], first[genre + 1] - 1)
        item = order[index]
        new = ~(taken[:, :step] == item[:, None]).any(1)
        taken[new, step] = item[new]
        last = np.where(new, genre, last)
    return taken


def number_ids(kind: str, count: int, width: int) -> pl.Series:
    """`item`, 3, 2 -> item00, item01, item02."""
    numbers = pl.select(pl.int_range(count)).to_series().cast(pl.String).str.zfill(width)
    return pl.Series(f"{kind}_id", numbers).str.replace("^", kind)
