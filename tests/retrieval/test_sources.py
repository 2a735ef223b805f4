import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gr2.retrieval.sources import find_sources

WIDTH, N_ITEMS = 5, 8


@st.composite
def some_lists(draw):
    """Lists of some queries and of two retrievers for them, short ones too: rows of items."""
    row = st.lists(st.integers(0, N_ITEMS - 1), max_size=WIDTH, unique=True)
    n = draw(st.integers(1, 3))
    return [[draw(row) for _ in range(n)] for _ in range(3)]


def as_top(rows):
    return np.array([row + [-1] * (WIDTH - len(row)) for row in rows], np.int32)


@given(some_lists())
def test_each_item_has_the_rank_and_score_of_every_list_that_holds_it(made):
    top, knn, bm25 = map(as_top, made)
    scores = {
        name: np.where(own < 0, -np.inf, own / 2 + at) for at, (name, own) in enumerate([("knn", knn), ("b", bm25)])
    }
    found = find_sources(top, {"knn": (knn, scores["knn"]), "b": (bm25, scores["b"])}).to_list()
    for row, given_for, own in zip(made[0], found, zip(*made[1:], strict=True), strict=True):
        assert len(given_for) == len(row)
        for item, known in zip(row, given_for, strict=True):
            for at, (name, items) in enumerate(zip(("knn", "b"), own, strict=True)):
                here = {"rank": items.index(item) + 1, "score": item / 2 + at} if item in items else None
                assert known[name] == here
