import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.evaluation.buckets import EVENTS, HISTORY, found_first, measure_buckets


@pytest.mark.parametrize(
    ("bounds", "sizes"),
    [(HISTORY, [1, 5, 6, 20, 21, 50, 51, 900]), (EVENTS, [0, 0, 1, 4, 5, 19, 20, 99, 100, 10**6])],
)
def test_the_bounds_belong_to_their_buckets(bounds, sizes):
    values = np.arange(len(sizes), dtype=float)
    found = measure_buckets(
        np.array(sizes), bounds, {"a": {"ndcg@5": values}}, ["ndcg@5"], np.arange(len(sizes)), 100, 0
    )
    assert {name: bucket["count"] for name, bucket in found.items()} == dict.fromkeys(bounds, 2)
    means = [bucket["systems"]["a"]["ndcg@5"]["value"] for bucket in found.values()]
    assert means == [0.5 + 2 * number for number in range(len(bounds))]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 80), st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=20))
def test_every_slate_is_in_one_bucket(slates):
    """So that the buckets' means, weighted, are the mean of all."""
    lengths, value, users = np.array(slates).T
    values = {"a": {"ndcg@6": value / 9}, "b": {"ndcg@6": 1 - value / 9}}
    found = measure_buckets(lengths, HISTORY, values, ["ndcg@6"], users, 100, 0)
    assert sum(bucket["count"] for bucket in found.values()) == len(slates)
    for name, mean in (("a", value.mean() / 9), ("b", 1 - value.mean() / 9)):
        weighted = sum(bucket["count"] * bucket["systems"][name]["ndcg@6"]["value"] for bucket in found.values())
        assert weighted / len(slates) == pytest.approx(mean, abs=1e-6)
    for bucket in found.values():
        low, high = bucket["systems"]["a"]["ndcg@6"]["interval"]
        assert low is None or low <= high


def test_found_first_is_asked_of_every_relevant_candidate():
    relevant = np.array([[True, False, True], [False, True, False]])  # the second slate has two candidates
    one, other = np.array([[2, 1, 0], [0, 1, -1]]), np.array([[0, 2, 1], [1, 0, -1]])
    assert found_first([one], relevant, 1).tolist() == [0, 1, 0]
    assert found_first([one, other], relevant, 1).tolist() == [0.5, 0.5, 0.5]
    assert found_first([one], relevant, 2).tolist() == [0, 1, 1]


@given(st.data())
def test_found_first_counts_what_the_first_k_places_hold(data):
    count = data.draw(st.integers(1, 8))
    order = np.array([data.draw(st.permutations(range(count)))])
    relevant = np.array([data.draw(st.lists(st.booleans(), min_size=count, max_size=count))])
    k = data.draw(st.integers(1, 10))
    assert found_first([order], relevant, k).sum() == relevant[0][order[0, :k]].sum()
