"""Small flat-array queries for tests."""

import numpy as np
from hypothesis import strategies as st

from gr2.retrieval.queries import Queries

N_ITEMS = 8


def flat(*users: tuple[list[int], list[int]]) -> Queries:
    """(items, positions) of each user, as queries."""
    offsets = np.cumsum([0, *(len(items) for items, _ in users)])[:-1]
    items = np.array([item for own, _ in users for item in own], np.int32)
    start = [offset for offset, (_, positions) in zip(offsets, users, strict=True) for _ in positions]
    at = [offset + place for offset, (_, positions) in zip(offsets, users, strict=True) for place in positions]
    return Queries(items, np.array(start, np.int64), np.array(at, np.int64))


def pasts(queries: Queries) -> list[list[int]]:
    """What each query may look at, oldest first."""
    return [queries.items[start:at].tolist() for start, at in zip(queries.start, queries.at, strict=True)]


def lists(top) -> list[list[tuple[int, float]]]:
    """(item, score) pairs of each query, without the -1s, which come last."""
    items, scores = top
    assert items.dtype == np.int32 and scores.dtype == np.float32 and items.shape == scores.shape
    for row in items.tolist():
        assert -1 not in row[: sum(item >= 0 for item in row)]
    return [
        [(item, score) for item, score in zip(*row, strict=True) if item >= 0]
        for row in zip(items.tolist(), scores.tolist(), strict=True)
    ]


@st.composite
def some_queries(draw, n_items: int = N_ITEMS) -> Queries:
    """One to four users of two to nine events, each asked about at one position or more."""
    users = []
    for _ in range(draw(st.integers(1, 4))):
        items = draw(st.lists(st.integers(0, n_items - 1), min_size=2, max_size=9))
        users.append((items, sorted(draw(st.sets(st.integers(1, len(items) - 1), min_size=1)))))
    return flat(*users)
