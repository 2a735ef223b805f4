"""Features of a candidate beside its text, as a production reranker knows them; prompts show them in deciles."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from gr2.data.text_matches import TextMatches, number, read_texts
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
    "brand_last": "1 if its title begins with the same word, often the brand, as the last item's",
    "brand_share": "share of the history with the same first word",
    "start_last": "1 if its title begins with the same two words as the last item's",
    "start_share": "share of the history with the same first two words",
    "words_last": "words shared with the last item, over the words of both",
    "words_max": "the largest such share over the history",
    "words_nearest": "the share with the item of the history whose vector is the most similar",
    "leaf_last": "1 if the last of its categories is also the last item's",
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
# For slates of an impression log these two are left out: they are the position, which affects clicks whatever the user
# likes.
RANKED = ("rank", "top")
RECENT = 5  # items that similarity_max looks at


def find_names(slates: Sequence[Slate]) -> tuple[str, ...]:
    """The names of all features that these slates of one file have: NAMES, and two of each source; of an impression
    log's without RANKED.
    """
    sources = sorted({source for slate in slates[:1] for known in slate.sources[:1] for source in known})
    kept = tuple(name for name in NAMES if not (is_logged(slates) and name in RANKED))
    return kept + tuple(f"{kind}_{source}" for source in sources for kind in ("rank", "score"))


def is_logged(slates: Sequence[Slate]) -> bool:
    """Whether these slates of one file are those of an impression log, with positions."""
    return any(slate.positions for slate in slates[:1])


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
        self.texts = TextMatches(read_texts(items))
        sequence = events.sort("user_id", "position" if "position" in events.columns else order, maintain_order=True)
        rows = np.array([self.row[item_id] for item_id in sequence["item_id"]], dtype=np.int64)
        self.transitions = Transitions.count(number(sequence["user_id"]), rows, len(items))

    def compute(self, slates: Sequence[Slate], names: Sequence[str] = NAMES) -> list[np.ndarray]:
        """float64 [K, len(names)] of each slate's candidates. InputError where a slate lacks a source among `names`."""
        return [self.compute_one(slate, names) for slate in slates]

    def table(self, slates: Sequence[Slate], names: Sequence[str] = NAMES) -> np.ndarray:
        """The same of all slates' candidates, one slate after the other: float64 [candidates, len(names)]."""
        return np.concatenate(self.compute(slates, names))

    def compute_one(self, slate: Slate, names: Sequence[str]) -> np.ndarray:
        rows, past = self.find(slate.candidates), self.find(slate.history)
        alike = self.vectors[rows] @ self.vectors[past].T
        rank = np.arange(len(rows))
        columns = {
            "popularity": self.popularity[rows],
            "recency": self.recency[rows],
            "rank": rank / len(rows),
            "top": rank == 0,
            "score": standardise(slate.scores or [0.0] * len(rows)),
            "similarity_last": alike[:, -1],
            "similarity_max": alike[:, -RECENT:].max(1),
            "similarity_mean": alike.mean(1, dtype=float),
            "history_length": len(past),
        }
        if not columns.keys() >= set(names):
            columns |= compare_texts(self.texts, rows, past, alike) | count(self.transitions, rows, past)
        table = np.empty((len(rows), len(names)))
        for at, name in enumerate(names):
            table[:, at] = columns[name] if name in columns else source_feature(slate, name)
        return table

    def find(self, item_ids: Sequence[str]) -> np.ndarray:
        """Rows of items, int [len(item_ids)]."""
        return np.array([self.row[item_id] for item_id in item_ids])


def compare_texts(texts: TextMatches, rows: np.ndarray, past: np.ndarray, alike: np.ndarray) -> dict[str, np.ndarray]:
    """Of candidates `rows` [K] and a history `past` [H]; alike: cosine of their vectors, float [K, H]."""
    same, words = texts.same(rows, past), texts.overlap(rows, past)
    last, share = same[..., -1], same.mean(2)
    nearest = alike == alike.max(1, keepdims=True)
    return {
        "brand_last": last[0],
        "brand_share": share[0],
        "start_last": last[1],
        "start_share": share[1],
        "words_last": words[:, -1],
        "words_max": words.max(1),
        "words_nearest": np.where(nearest, words, 0.0).max(1),
        "leaf_last": last[2],
        "leaf_share": share[2],
    }


def count(transitions: Transitions, rows: np.ndarray, past: np.ndarray) -> dict[str, np.ndarray]:
    followed, together = transitions.look_up(past, rows)
    return {
        "followed": np.log1p(followed.sum(1)),
        "followed_last": np.log1p(followed[:, -1]),
        "together": together.sum(1),
    }


def source_feature(slate: Slate, name: str) -> np.ndarray:
    """float [K] of `rank_SOURCE` or `score_SOURCE`."""
    kind, _, source = name.partition("_")
    if not slate.sources or source not in slate.sources[0]:
        raise InputError(f"slate_id '{slate.slate_id}': expected ranks and scores of {source} in column 'sources'")
    known = [place[source] for place in slate.sources]
    if kind == "rank":
        return np.array([1 / place["rank"] if place else 0.0 for place in known])
    given = np.array([place is not None for place in known])
    scores = standardise([place["score"] for place in known if place])
    values = np.full(len(known), scores.min(initial=0.0))
    values[given] = scores
    return values


def standardise(values: Sequence[float]) -> np.ndarray:
    """Less their mean, over their standard deviation; 0 where all are equal."""
    if not len(values):
        return np.zeros(0)
    moved = np.array(values, dtype=float)
    moved -= moved[0]  # so that equal ones are 0, however large
    moved -= moved.sum() / len(moved)
    return moved / ((moved @ moved / len(moved)) ** 0.5 + 1e-9)


def load_features(items: str, interactions: str, embeddings: str) -> Features:
    """Features from items.parquet, interactions.parquet of `gr2 prepare` and embeddings.safetensors."""
    table = read_items(items)
    events = read_interactions(interactions, table["item_id"])
    require_columns(events, interactions, ("split",))
    return Features(table, events, read_embeddings(embeddings, table["item_id"]))
