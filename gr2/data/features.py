"""Features of a candidate beside its text, as a production reranker knows them; prompts show them in deciles."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from gr2.data.pairs import Pairs
from gr2.data.text_matches import TextMatches, number, same
from gr2.data.transitions import Transitions
from gr2.errors import InputError
from gr2.files.columns import require_columns
from gr2.files.embeddings import read_embeddings
from gr2.files.interactions import read_interactions
from gr2.files.items import read_items
from gr2.files.slates import Slate

# Counts are of pretrain events; "last" and "history" are of the slate; words are those of titles, in lower case.
BASIC = {
    "popularity": "log(1 + events of the item)",
    "recency": "rank of the mean time of its events among all items, from 0 (or none) to 1",
    "rank": "rank in the input order, from 0, over the number of candidates",
    "top": "1 for the first in the input order",
    "score": "the pre-ranker's score, standardised within the slate; 0 without scores",
    "similarity_last": "cosine of its vector with the last item's",
    "similarity_max": "the largest with one of the last five items",
    "similarity_mean": "the mean over the history",
}
TEXT = {
    "brand_last": "1 where the first word, often the brand, is the last item's",
    "brand_share": "share of the history with the same first word",
    "start_last": "1 where the first two words are the last item's",
    "start_share": "share of the history with the same first two words",
    "words_last": "words shared with the last item, over the words of both",
    "words_max": "the largest such share over the history",
    "words_nearest": "the share with the item of the history whose vector is the most similar",
    "leaf_last": "1 where the last of its categories is the last item's",
    "leaf_share": "share of the history with the same last category",
}
COUNTS = {
    "followed": "log(1 + how often users came to it after an item of the history), summed over the history; within ten "
    "events, each time counted as 1 / how many events later",
    "followed_last": "the same after the last item",
    "together": "cosine of its users with an item's users, summed over the history",
    "history_length": "items of the history: the same for all candidates, for trees and networks",
}
DEFINITIONS = BASIC | TEXT | COUNTS
NAMES = tuple(DEFINITIONS)
# Of each pre-ranker that the slates have in `sources`, say bm25: rank_bm25, 1 / its rank, and score_bm25, its score,
# standardised among the candidates that it returned. Of others: 0, and the lowest of the slate.
# Of slates of an impression log these two are the position, which a click hangs on whatever the user likes: left out.
RANKED = ("rank", "top")
RECENT = 5  # items that similarity_max looks at
BLOCK = 256  # slates at a time


def find_names(slates: Sequence[Slate]) -> tuple[str, ...]:
    """The names of all features that these slates of one file have: NAMES, and two of each source; of an impression
    log's without RANKED.
    """
    sources = sorted({source for slate in slates[:1] for known in slate.sources[:1] for source in known})
    logged = any(slate.positions for slate in slates[:1])
    own = tuple(name for name in NAMES if not (logged and name in RANKED))
    return own + tuple(f"{kind}_{source}" for source in sources for kind in ("rank", "score"))


def check_names(names: Sequence[str], path: str | Path) -> None:
    """InputError unless these are names of features; path: the model that was fitted on them."""
    unknown = [name for name in names if name not in NAMES and not name.startswith(("rank_", "score_"))]
    if unknown or not names:
        raise InputError(f"{path}: expected features that gr2 knows, found {', '.join(unknown)}; run `gr2 fit` again")


class Features:
    """Computes candidates' features from item vectors, item texts and pretrain events; later events are not read.

    items: `item_id`, `title`, optional `categories`. events: `user_id`, `item_id`, `split`, and `position` or
    `timestamp`. vectors: float [items, size].
    """

    def __init__(self, items: pl.DataFrame, events: pl.DataFrame, vectors: np.ndarray):
        events = events.filter(pl.col("split") == "pretrain")
        order = "timestamp" if "timestamp" in events.columns else "position"
        known = events.group_by("item_id").agg(pl.len().alias("count"), pl.col(order).mean().alias("age"))
        joined = items.select("item_id").join(known, on="item_id", how="left", maintain_order="left")
        self.popularity = np.log1p(joined["count"].fill_null(0).to_numpy())
        self.recency = joined["age"].rank().fill_null(0).to_numpy() / len(items)
        self.row = {item_id: row for row, item_id in enumerate(items["item_id"])}
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.texts = TextMatches(items)
        sequence = events.sort("user_id", "position" if "position" in events.columns else order, maintain_order=True)
        rows = np.array([self.row[item_id] for item_id in sequence["item_id"]], dtype=np.int64)
        self.transitions = Transitions(number(sequence["user_id"]), rows, len(items))

    def compute(self, slates: Sequence[Slate], names: Sequence[str] = NAMES) -> list[np.ndarray]:
        """float64 [K, len(names)] of each slate's candidates. InputError where a slate lacks a source among `names`."""
        return [own for sizes, table in self.blocks(slates, names) for own in np.split(table, sizes.cumsum()[:-1])]

    def table(self, slates: Sequence[Slate], names: Sequence[str] = NAMES) -> np.ndarray:
        """The same of all slates' candidates, one slate after the other: float64 [candidates, len(names)]."""
        return np.concatenate([table for _, table in self.blocks(slates, names)])

    def blocks(self, slates: Sequence[Slate], names: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Block by block the numbers of candidates, int [slates], and their features."""
        for start in range(0, len(slates), BLOCK):
            yield self.compute_block(slates[start : start + BLOCK], names)

    def compute_block(self, slates: Sequence[Slate], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = [[self.row[item_id] for item_id in slate.candidates] for slate in slates]
        pasts = [[self.row[item_id] for item_id in slate.history] for slate in slates]
        pairs = Pairs(rows, pasts)
        alike = [(self.vectors[own] @ self.vectors[past].T).ravel() for own, past in zip(rows, pasts, strict=True)]
        rank = np.concatenate([np.arange(len(own)) for own in rows])
        columns = {
            "popularity": self.popularity[pairs.rows],
            "recency": self.recency[pairs.rows],
            "rank": rank / np.repeat(pairs.sizes, pairs.sizes),
            "top": rank == 0,
            "score": np.concatenate([standardise(slate.scores or [0.0] * len(slate.candidates)) for slate in slates]),
            "history_length": pairs.lengths,
            **similarities(pairs, np.concatenate(alike)),
            **text_matches(pairs, self.texts, np.concatenate(alike)),
            **counts(pairs, self.transitions),
        }
        for name in names:
            if name not in columns:
                columns[name] = np.concatenate([source_feature(slate, name) for slate in slates])
        return pairs.sizes, np.column_stack([columns[name] for name in names]).astype(float)


def similarities(pairs: Pairs, alike: np.ndarray) -> dict[str, np.ndarray]:
    """alike: cosine of a pair's vectors, float [pairs]."""
    return {
        "similarity_last": pairs.last(alike),
        "similarity_max": pairs.largest(np.where(pairs.age < RECENT, alike, -np.inf)),
        "similarity_mean": pairs.mean(alike),
    }


def text_matches(pairs: Pairs, texts: TextMatches, alike: np.ndarray) -> dict[str, np.ndarray]:
    brand, start, leaf = (
        same(numbers, pairs.candidate, pairs.past) for numbers in (texts.first_word, texts.two_words, texts.leaf)
    )
    words = texts.overlap(pairs.candidate, pairs.past)
    return {
        "brand_last": pairs.last(brand),
        "brand_share": pairs.mean(brand),
        "start_last": pairs.last(start),
        "start_share": pairs.mean(start),
        "words_last": pairs.last(words),
        "words_max": pairs.largest(words),
        "words_nearest": pairs.where_largest(words, alike),
        "leaf_last": pairs.last(leaf),
        "leaf_share": pairs.mean(leaf),
    }


def counts(pairs: Pairs, transitions: Transitions) -> dict[str, np.ndarray]:
    followed = transitions.followed(pairs.past, pairs.candidate)
    return {
        "followed": np.log1p(pairs.total(followed)),
        "followed_last": np.log1p(pairs.last(followed)),
        "together": pairs.total(transitions.together(pairs.past, pairs.candidate)),
    }


def source_feature(slate: Slate, name: str) -> np.ndarray:
    """float [K] of `rank_SOURCE` or `score_SOURCE`."""
    kind, _, source = name.partition("_")
    if not slate.sources or source not in slate.sources[0]:
        raise InputError(f"slate_id '{slate.slate_id}': expected ranks and scores of {source} in column 'sources'")
    known = [own[source] for own in slate.sources]
    if kind == "rank":
        return np.array([1 / own["rank"] if own else 0.0 for own in known])
    given = np.array([own is not None for own in known])
    scores = standardise([own["score"] for own in known if own])
    values = np.full(len(known), scores.min(initial=0.0))
    values[given] = scores
    return values


def standardise(values: Sequence[float]) -> np.ndarray:
    """Less their mean, over their standard deviation; 0 where all are equal."""
    centred = np.array(values, dtype=float)
    centred = centred - centred.mean() if len(centred) else centred
    return centred / (centred.std() + 1e-9) if len(centred) else centred


def load_features(items: str, interactions: str, embeddings: str) -> Features:
    """Features from items.parquet, interactions.parquet of `gr2 prepare` and embeddings.safetensors."""
    table = read_items(items)
    events = read_interactions(interactions, table["item_id"])
    require_columns(events, interactions, ("split",))
    return Features(table, events, read_embeddings(embeddings, table["item_id"]))
