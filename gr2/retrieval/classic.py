"""Pre-rankers without a network: popularity, item-kNN, BM25 over titles; fusion of several; filling of short lists."""

import re

import numpy as np
import scipy.sparse as sp

from gr2.errors import InputError
from gr2.retrieval.queries import Queries, Ranker, Top, best, collect

NEIGHBOURS = 200  # of an item that item-kNN keeps
SHRINK = 10.0  # added to the denominator of its cosine: two users in common prove little
K1, B = 1.2, 0.75  # BM25's usual constants (Robertson and Zaragoza 2009)
FUSION = 60.0  # the constant of reciprocal rank fusion (Cormack et al. 2009)
CELLS = 50_000_000  # scores held at a time as lists are filled, 200 MB


def popularity(counts: np.ndarray, count: int, exclude_seen: bool) -> Ranker:
    """The most popular items, ties by row; items that `counts`, int [items], has no event of are never listed."""
    ranked = np.argsort(-counts, kind="stable")[: (counts > 0).sum()].astype(np.int32)
    rank_of = np.full(len(counts), len(ranked), np.int64)
    rank_of[ranked] = np.arange(len(ranked))

    def rank(queries: Queries) -> Top:
        query, item = queries.seen() if exclude_seen else (np.empty(0, int), np.empty(0, int))
        taken = rank_of[item]
        longest = np.bincount(query, minlength=1).max()
        free = np.ones((len(queries), min(count + longest, len(ranked))), bool)
        deep = taken < free.shape[1]
        free[query[deep], taken[deep]] = False
        row, column = np.nonzero(free & (free.cumsum(1, dtype=np.int32) <= count))
        return collect(row, ranked[column], counts[ranked[column]], (len(queries), count))

    return rank


def item_knn(
    users: np.ndarray, items: np.ndarray, n_items: int, history: int, count: int, exclude_seen: bool
) -> Ranker:
    """Items that users of the history's items chose too: shrunk cosine, summed over the last `history` items.

    users, items: int [events], of the pretrain events (Sarwar et al. 2001). Each item keeps its 200 nearest neighbours.
    """
    chosen = sp.csr_array((np.ones(len(users), np.float32), (users, items)), shape=(int(users.max()) + 1, n_items))
    chosen.data[:] = 1.0  # a repeated event counts once
    together = (chosen.T @ chosen).tocsr()
    together.setdiag(0)
    together.eliminate_zeros()
    norms = np.sqrt(np.bincount(chosen.indices, minlength=n_items))
    row = np.repeat(np.arange(n_items), np.diff(together.indptr))
    together.data /= norms[row] * norms[together.indices] + SHRINK
    return _by_history(strongest(together, NEIGHBOURS), history, count, exclude_seen)


def bm25(texts: list[str], history: int, count: int, exclude_seen: bool) -> Ranker:
    """Items whose text has the words of the last `history` items' texts, by BM25; texts: one an item."""
    from sklearn.feature_extraction.text import CountVectorizer

    if not any(re.search(r"\w", text) for text in texts):
        raise InputError("pre_ranker bm25: expected titles with words in them, found none")
    words = CountVectorizer(token_pattern=r"(?u)\b\w+\b", dtype=np.float32).fit_transform(texts).tocsr()
    return _by_history(words, history, count, exclude_seen, weights=bm25_weights(words).T.tocsr())


def bm25_weights(words: sp.csr_array) -> sp.csr_array:
    """Counts [documents, words] -> each word's share of a document's BM25 score, of the same shape."""
    documents = words.shape[0]
    lengths = np.asarray(words.sum(1)).ravel()
    holding = np.bincount(words.indices, minlength=words.shape[1])
    idf = np.log1p((documents - holding + 0.5) / (holding + 0.5))
    row = np.repeat(np.arange(documents), np.diff(words.indptr))
    length_norm = K1 * (1 - B + B * lengths[row] / max(lengths.mean(), 1e-9))
    weighted = words.copy()
    weighted.data = (idf[words.indices] * words.data * (K1 + 1) / (words.data + length_norm)).astype(np.float32)
    return weighted


def _by_history(
    rows: sp.csr_array, history: int, count: int, exclude_seen: bool, weights: sp.csr_array | None = None
) -> Ranker:
    """Scores = the sum of the history items' `rows`: [items, items], or [items, words] @ `weights` [words, items]."""

    def rank(queries: Queries) -> Top:
        items = queries.history(history)
        query, column = np.nonzero(items >= 0)
        ones = np.ones(len(query), np.float32)
        profile = sp.csr_array((ones, (query, items[query, column])), shape=(len(queries), rows.shape[0])) @ rows
        scores = (profile if weights is None else profile @ weights).toarray()
        scores[scores <= 0] = -np.inf  # nothing in common
        return best(scores, queries, count, exclude_seen)

    return rank


def strongest(matrix: sp.csr_array, count: int) -> sp.csr_array:
    """The `count` largest entries of each row."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, row))
    kept = order[(np.arange(len(order)) - matrix.indptr[row[order]]) < count]
    return sp.csr_array((matrix.data[kept], (row[kept], matrix.indices[kept])), shape=matrix.shape)


def fuse(rankers: list[Ranker], count: int) -> Ranker:
    """The rankers' lists, fused: see `fuse_lists`."""
    return lambda queries: fuse_lists([ranker(queries) for ranker in rankers], count)


def fuse_lists(lists: list[Top], count: int) -> Top:
    """Reciprocal rank fusion (Cormack et al. 2009): an item scores the sum of 1 / (60 + rank) over its lists, which are
    of the same shape.
    """
    tops = np.concatenate([top for top, _ in lists], axis=1)
    points = np.tile(1 / (FUSION + 1 + np.arange(lists[0][0].shape[1])), len(lists))
    query, column = np.nonzero(tops >= 0)
    keys, owner = np.unique(query.astype(np.int64) << 32 | tops[query, column], return_inverse=True)
    scores = np.bincount(owner, points[column])
    query, item = keys >> 32, (keys & 0xFFFFFFFF).astype(np.int32)
    order = np.lexsort((item, -scores, query))
    return collect(query[order], item[order], scores[order], (len(tops), count))


def fill_by_popularity(lists: Top, queries: Queries, counts: np.ndarray, exclude_seen: bool) -> Top:
    """The queries' lists; short ones continue with other items by popularity, ties by row, each with the score 0.

    counts: int [items]. Item-kNN and BM25 score all of these items 0 (nothing in common with the history), so that this
    only breaks their ties.
    """
    top, scores = lists[0].copy(), lists[1].copy()
    short = np.flatnonzero((top < 0).any(1))
    popularity_rank = np.empty(len(counts), np.float32)
    popularity_rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    for block in np.array_split(short, -(-len(short) * len(counts) // CELLS)) if len(short) else []:
        listed, count = top[block], top.shape[1]
        others = np.repeat(-popularity_rank[None], len(listed), 0)
        row, column = np.nonzero(listed >= 0)
        others[row, listed[row, column]] = -np.inf
        more, _ = best(others, queries.only(block), count, exclude_seen)
        items = np.concatenate([listed, more], 1)
        values = np.concatenate([scores[block], np.where(more < 0, -np.inf, 0).astype(np.float32)], 1)
        order = np.argsort(items < 0, axis=1, kind="stable")[:, :count]
        top[block], scores[block] = np.take_along_axis(items, order, 1), np.take_along_axis(values, order, 1)
    return top, scores
