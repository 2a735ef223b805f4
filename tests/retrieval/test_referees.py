"""BM25 and item-kNN against libraries that others wrote: bm25s and implicit."""

import bm25s
import numpy as np
import pytest
import scipy.sparse as sp
from implicit.nearest_neighbours import CosineRecommender

from gr2.retrieval import classic
from tests.retrieval.arrays import flat, lists

WORDS = [f"w{number}" for number in range(40)]


@pytest.mark.parametrize("history", [1, 3])
def test_bm25_scores_are_those_of_bm25s(history):
    """bm25s' `lucene` leaves out the constant factor k1 + 1; a query repeats a word as often as its history does."""
    rng = np.random.default_rng(history)
    texts = [rng.choice(WORDS[: rng.integers(5, 40)], rng.integers(1, 12)).tolist() for _ in range(60)]
    referee = bm25s.BM25(k1=classic.K1, b=classic.B, method="lucene", dtype="float64")
    referee.index(texts, show_progress=False)
    pasts = [rng.choice(60, 4, replace=False).tolist() for _ in range(20)]
    queries = flat(*(([*past, 0], [4]) for past in pasts))
    top = classic.bm25([" ".join(words) for words in texts], history, 60, exclude_seen=False)(queries)
    for past, found in zip(pasts, lists(top), strict=True):
        scores = sum(referee.get_scores([word]) for item in past[-history:] for word in texts[item]) * (classic.K1 + 1)
        expected = {item: score for item, score in enumerate(scores) if score > 0}
        assert dict(found) == pytest.approx(expected, rel=1e-4)
        assert len(found) > 5


def test_item_knn_without_shrinkage_is_the_cosine_of_implicit(monkeypatch):
    rng = np.random.default_rng(0)
    n_users, n_items = 50, 30
    liked = rng.random((n_users, n_items)) < rng.random(n_items) * 0.5
    users, items = np.nonzero(liked)
    referee = CosineRecommender(K=n_items + 1)  # an item is its own nearest neighbour there
    user_items = sp.csr_matrix(liked.astype(float))
    referee.fit(user_items, show_progress=False)
    monkeypatch.setattr(classic, "SHRINK", 0.0)
    asked = [user for user in range(n_users) if liked[user].any()]
    pasts = [np.flatnonzero(liked[user]).tolist() for user in asked]
    rank = classic.item_knn(users, items, n_items, n_items, n_items, exclude_seen=True)
    found = lists(rank(flat(*(([*past, 0], [len(past)]) for past in pasts))))
    for user, own in zip(asked, found, strict=True):
        ids, scores = referee.recommend(user, user_items[user], N=n_items, filter_already_liked_items=True)
        expected = {int(item): float(score) for item, score in zip(ids, scores, strict=True) if score > 0}
        assert dict(own) == pytest.approx(expected, rel=1e-5)
        assert [score for _, score in own] == sorted((score for _, score in own), reverse=True)
    assert sum(map(len, found)) > 500
