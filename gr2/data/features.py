"""Features of a candidate beside its text, as a production reranker knows them; prompts show them in deciles."""

import numpy as np
import polars as pl

from gr2.files.columns import require_columns
from gr2.files.embeddings import read_embeddings
from gr2.files.interactions import read_interactions
from gr2.files.items import read_items
from gr2.files.slates import Slate

NAMES = ("popularity", "recency", "rank", "top", "score", "similarity_last", "similarity_max", "similarity_mean")


class Features:
    """Computes candidates' features from item vectors and pretrain events; later events are not read."""

    def __init__(self, events: pl.DataFrame, item_ids: pl.Series, vectors: np.ndarray):
        events = events.filter(pl.col("split") == "pretrain")
        order = "timestamp" if "timestamp" in events.columns else "position"
        known = events.group_by("item_id").agg(pl.len().alias("count"), pl.col(order).mean().alias("age"))
        joined = pl.DataFrame({"item_id": item_ids}).join(known, on="item_id", how="left", maintain_order="left")
        self.popularity = np.log1p(joined["count"].fill_null(0).to_numpy())
        self.recency = joined["age"].rank().fill_null(0).to_numpy() / len(item_ids)
        self.row = {item_id: row for row, item_id in enumerate(item_ids)}
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def compute(self, slate: Slate) -> np.ndarray:
        """float64 [K, len(NAMES)] of a slate's candidates; scores are standardised within the slate, 0 without any."""
        rows = np.array([self.row[item_id] for item_id in slate.candidates])
        past = np.array([self.row[item_id] for item_id in slate.history])
        similarity = self.vectors[rows] @ self.vectors[past].T
        rank = np.arange(len(rows))
        scores = np.array(slate.scores or np.zeros(len(rows)))
        columns = [
            self.popularity[rows],
            self.recency[rows],
            rank / len(rows),
            rank == 0,
            (scores - scores.mean()) / (scores.std() + 1e-9),
            similarity[:, -1],
            similarity[:, -5:].max(axis=1),
            similarity.mean(axis=1),
        ]
        return np.column_stack(columns)


def load_features(items: str, interactions: str, embeddings: str) -> Features:
    """Features from items.parquet, interactions.parquet of `gr2 prepare` and embeddings.safetensors."""
    item_ids = read_items(items)["item_id"]
    events = read_interactions(interactions, item_ids)
    require_columns(events, interactions, ("split",))
    return Features(events, item_ids, read_embeddings(embeddings, item_ids))
