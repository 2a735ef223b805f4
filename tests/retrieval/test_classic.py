import math
import warnings
from collections import defaultdict

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from gr2.retrieval import classic
from tests.retrieval.arrays import N_ITEMS, flat, lists, pasts, some_queries


@given(
    some_queries(), st.lists(st.integers(0, 4), min_size=N_ITEMS, max_size=N_ITEMS), st.integers(1, 10), st.booleans()
)
def test_popularity_is_that_of_a_slow_reference(queries, counts, count, exclude_seen):
    ranked = sorted((item for item in range(N_ITEMS) if counts[item]), key=lambda item: (-counts[item], item))
    expected = [
        [(item, float(counts[item])) for item in ranked if not (exclude_seen and item in past)][:count]
        for past in pasts(queries)
    ]
    top = classic.popularity(np.array(counts), count, exclude_seen)(queries)
    assert lists(top) == expected and top[0].shape == (len(queries), count)


def test_popularity_finds_what_is_left_for_a_user_who_has_seen_the_head():
    """One user has seen the 900 most popular items, many of them twice, another one nothing of them."""
    counts = np.arange(1000, 0, -1)
    fan = [item for item in range(900) for _ in range(1 + item % 2)]
    queries = flat((fan, [1, len(fan) - 1]), ([999, 0], [1]))
    top = lists(classic.popularity(counts, 5, exclude_seen=True)(queries))
    assert top[0] == [(item, 1000.0 - item) for item in range(1, 6)]
    assert top[1] == [(item, 1000.0 - item) for item in range(900, 905)]
    assert top[2] == [(item, 1000.0 - item) for item in range(5)]


def dense_knn(users, items, n_items):
    """Shrunk cosine between the items' sets of users; an item is no neighbour of itself."""
    likers = [{user for user, item in zip(users, items, strict=True) if item == wanted} for wanted in range(n_items)]
    likeness = np.zeros((n_items, n_items))
    for a in range(n_items):
        for b in range(n_items):
            if a != b:
                norm = math.sqrt(len(likers[a]) * len(likers[b])) + classic.SHRINK
                likeness[a, b] = len(likers[a] & likers[b]) / norm
    return likeness


def check_against_dense(queries, likeness, history, top, exclude_seen):
    """Scores are right, best first, and complete: no item that is left out scores more than the last that is there."""
    for past, found in zip(pasts(queries), lists(top), strict=True):
        scores = likeness[past[-history:]].sum(0)
        if exclude_seen:
            scores[past] = 0
        width = min(top[0].shape[1], int((scores > 0).sum()))
        values = [score for _, score in found]
        assert len(found) == len({item for item, _ in found}) == width
        assert values == pytest.approx(sorted(scores, reverse=True)[:width], rel=1e-5)
        assert values == pytest.approx([scores[item] for item, _ in found], rel=1e-5)


@given(
    some_queries(),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, N_ITEMS - 1)), min_size=1, max_size=40),
    st.integers(1, 4),
    st.integers(1, 10),
    st.booleans(),
)
def test_item_knn_is_that_of_a_dense_reference(queries, learned, history, count, exclude_seen):
    users, items = np.array(learned).T
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rank = classic.item_knn(users, items, N_ITEMS, history, count, exclude_seen)
    check_against_dense(queries, dense_knn(users, items, N_ITEMS), history, rank(queries), exclude_seen)


def test_item_knn_keeps_the_nearest_neighbours_only():
    """All like item 0; the higher an item, the more users it shares with item 0. The five lowest are forgotten."""
    last = classic.NEIGHBOURS + 5
    users, items = np.array([(user, item) for item in range(last + 1) for user in range(item or last)]).T
    top = classic.item_knn(users, items, last + 1, 5, last, exclude_seen=True)(flat(([0, 1], [1])))
    assert [item for item, _ in lists(top)[0]] == list(range(last, 5, -1))


@given(st.integers(0, 6), st.integers(0, 8), st.integers(0, 10_000))
def test_strongest_are_the_largest_entries_of_each_row(count, columns, seed):
    dense = np.random.default_rng(seed).integers(-3, 4, (5, columns)).astype(float)
    kept = classic.strongest(sp.csr_array(dense), count).toarray()
    for before, after in zip(dense, kept, strict=True):
        entries = sorted((value for value in before if value), reverse=True)[:count]
        assert sorted((value for value in after if value), reverse=True) == entries
        assert all(value in (0, other) for value, other in zip(after, before, strict=True))


TEXTS = ["red red car", "red bus", "blue bus stop here"]


def test_bm25_weights_by_hand():
    """Three documents of 3, 2 and 4 words: 3 words on average."""
    words = ["red", "car", "bus", "blue", "stop", "here"]
    counts = np.array([[text.split().count(word) for word in words] for text in TEXTS], np.float32)
    found = classic.bm25_weights(sp.csr_array(counts)).toarray()
    in_two, in_one = math.log(1 + 1.5 / 2.5), math.log(1 + 2.5 / 1.5)
    middling, short, long = 1.2, 1.2 * (0.25 + 0.75 * 2 / 3), 1.2 * (0.25 + 0.75 * 4 / 3)
    assert found[0] == pytest.approx([in_two * 2 * 2.2 / (2 + middling), in_one * 2.2 / (1 + middling), 0, 0, 0, 0])
    assert found[1] == pytest.approx([in_two * 2.2 / (1 + short), 0, in_two * 2.2 / (1 + short), 0, 0, 0])
    assert found[2] == pytest.approx([0, 0, in_two * 2.2 / (1 + long), *[in_one * 2.2 / (1 + long)] * 3])


def test_bm25_finds_the_items_that_share_rare_words_with_the_history():
    texts = ["Red car", "red bus", "blue BUS", "green car", "the red red thing", ""]
    top = classic.bm25(texts, 1, 6, exclude_seen=True)(flat(([2, 5, 0], [1, 2]), ([0, 1], [1]), ([3, 0, 1], [2])))
    found = [[item for item, _ in row] for row in lists(top)]
    assert found[0] == [1] and found[1] == []  # an item without words is like no other
    assert found[2][0] == 3 and set(found[2]) == {1, 3, 4}  # `car` is rarer than `red`
    assert set(found[3]) == {1, 4}  # of the last item alone, and 3 was seen
    queried = lists(classic.bm25(texts, 2, 6, exclude_seen=False)(flat(([0, 2, 1], [2]))))[0]
    alone = [dict(lists(classic.bm25(texts, 1, 6, False)(flat(([item, 1], [1]))))[0]) for item in (0, 2)]
    assert dict(queried) == pytest.approx({item: alone[0].get(item, 0) + alone[1].get(item, 0) for item, _ in queried})
    assert set(dict(queried)) == set(alone[0]) | set(alone[1])


@st.composite
def top_lists(draw, n):
    """A ranker that answers n queries with lists of its own, and these."""
    width = 6
    rows = [draw(st.lists(st.integers(0, N_ITEMS - 1), max_size=width, unique=True)) for _ in range(n)]
    top = np.array([row + [-1] * (width - len(row)) for row in rows], np.int32)
    return rows, lambda queries: (top, np.where(top >= 0, 0, -np.inf).astype(np.float32))


@given(st.integers(1, 3).flatmap(lambda n: st.lists(top_lists(n), min_size=1, max_size=3)), st.integers(1, 10))
def test_fused_is_that_of_a_dictionary(made, count):
    rows = [rows for rows, _ in made]
    queries = flat(*(([0, 1], [1]) for _ in rows[0]))
    expected = []
    for answers in zip(*rows, strict=True):
        points = defaultdict(float)
        for answer in answers:
            for rank, item in enumerate(answer, start=1):
                points[item] += 1 / (60 + rank)
        expected.append(sorted(points.items(), key=lambda pair: (-pair[1], pair[0]))[:count])
    top = classic.fuse([ranker for _, ranker in made], count)(queries)
    found = lists(top)
    assert top[0].shape == (len(queries), count)
    for one, other in zip(found, expected, strict=True):
        assert [score for _, score in one] == pytest.approx([score for _, score in other])
        assert [item for item, _ in one] == [item for item, _ in other]


def test_rankers_are_fused_where_the_lists_are_deeper_than_the_catalogue():
    """Popularity first lists 0, item-kNN first 2: nothing of one list may be read as another's."""
    queries = flat(([1, 0], [1]))
    popular = classic.popularity(np.array([3, 2, 1]), 5, exclude_seen=True)
    users, items = np.array([(user, item) for user in range(3) for item in (1, 2)]).T
    knn = classic.item_knn(users, items, 3, 5, 5, exclude_seen=True)
    assert [item for item, _ in lists(popular(queries))[0]] == [0, 2]
    assert [item for item, _ in lists(knn(queries))[0]] == [2]
    fused = lists(classic.fuse([popular, knn], 5)(queries))[0]
    assert dict(fused) == pytest.approx({2: 1 / 62 + 1 / 61, 0: 1 / 61})


@given(some_queries(), st.lists(st.integers(0, 4), min_size=N_ITEMS, max_size=N_ITEMS), st.booleans(), st.data())
def test_a_short_list_is_filled_by_popularity(queries, counts, exclude_seen, data):
    """Against a plain reading, for lists of any length; full ones stay as they are."""
    count, expected, rows = data.draw(st.integers(1, N_ITEMS + 2)), [], []
    for past in pasts(queries):
        free = [item for item in range(N_ITEMS) if not (exclude_seen and item in past)]
        own = data.draw(st.permutations(free))[: data.draw(st.integers(0, count))]
        more = sorted((item for item in free if item not in own), key=lambda item: (-counts[item], item))
        rows.append(own)
        expected.append([(item, 9.0 - rank) for rank, item in enumerate(own)] + [(item, 0.0) for item in more])
    top = np.full((len(rows), count), -1, np.int32)
    scores = np.full((len(rows), count), -np.inf, np.float32)
    for number, own in enumerate(rows):
        top[number, : len(own)], scores[number, : len(own)] = own, 9.0 - np.arange(len(own))
    found = classic.fill_by_popularity((top, scores), queries, np.array(counts), exclude_seen)
    assert lists(found) == [row[:count] for row in expected]
