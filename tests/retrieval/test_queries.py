import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gr2.retrieval.queries import best
from tests.retrieval.arrays import N_ITEMS, flat, lists, pasts, some_queries


@given(some_queries(), st.integers(1, 12))
def test_a_history_is_the_last_items_of_the_past_at_the_right_edge(queries, longest):
    expected = [[-1] * (longest - len(past)) + past[-longest:] for past in pasts(queries)]
    history = queries.history(longest)
    assert history.tolist() == expected and history.dtype == np.int32


@given(some_queries())
def test_seen_pairs_are_those_of_the_whole_pasts(queries):
    query, item = queries.seen()
    expected = [(number, item) for number, past in enumerate(pasts(queries)) for item in past]
    assert list(zip(query.tolist(), item.tolist(), strict=True)) == expected


@given(some_queries(), st.integers(1, 5))
def test_blocks_are_the_queries_in_order(queries, size):
    blocks = list(queries.blocks(size))
    assert [past for block in blocks for past in pasts(block)] == pasts(queries)
    assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1) and 0 < len(blocks[-1]) <= size


@given(some_queries(), st.data())
def test_only_keeps_the_chosen_queries(queries, data):
    kept = data.draw(st.lists(st.booleans(), min_size=len(queries), max_size=len(queries)))
    expected = [past for past, chosen in zip(pasts(queries), kept, strict=True) if chosen]
    assert pasts(queries.only(np.array(kept))) == expected


@st.composite
def scored(draw):
    """Queries, and for each a permutation of distinct scores, some of them -inf."""
    queries = draw(some_queries())
    rows = [draw(st.permutations(range(N_ITEMS))) for _ in range(len(queries))]
    scores = np.array(rows, np.float32) - 3
    scores[np.array(rows) < draw(st.integers(0, N_ITEMS))] = -np.inf
    return queries, scores


@given(scored(), st.integers(1, N_ITEMS + 3), st.booleans())
def test_best_are_the_highest_scores_that_are_not_seen(made, count, exclude_seen):
    queries, scores = made
    expected = []
    for past, row in zip(pasts(queries), scores.tolist(), strict=True):
        pairs = [(item, score) for item, score in enumerate(row) if score > -np.inf]
        if exclude_seen:
            pairs = [(item, score) for item, score in pairs if item not in past]
        expected.append(sorted(pairs, key=lambda pair: -pair[1])[:count])
    top = best(scores.copy(), queries, count, exclude_seen)
    assert lists(top) == expected
    assert top[0].shape == (len(queries), count)  # also where the catalogue has fewer items


def test_seen_items_of_one_user_are_not_dropped_from_anothers_list():
    queries = flat(([0, 1, 2], [2]), ([3, 4, 5], [1, 2]))
    scores = np.tile(np.arange(6, 0, -1, dtype=np.float32), (3, 1))
    assert [[item for item, _ in row] for row in lists(best(scores, queries, 6, exclude_seen=True))] == [
        [2, 3, 4, 5], [0, 1, 2, 4, 5], [0, 1, 2, 5]
    ]  # fmt: skip
