import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.evaluation import systems


def test_the_bounds_belong_to_their_buckets():
    lengths, users = np.array([1, 5, 6, 20, 21, 50, 51, 900]), np.arange(8)
    values = {"a": {"ndcg@5": np.arange(8.0)}}
    found = systems.by_history(lengths, values, "ndcg@5", users, 100, 0)
    assert {name: bucket["slates"] for name, bucket in found.items()} == dict.fromkeys(systems.HISTORY, 2)
    means = [bucket["systems"]["a"]["ndcg@5"]["value"] for bucket in found.values()]
    assert means == [0.5, 2.5, 4.5, 6.5]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 80), st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=20))
def test_every_slate_is_in_one_bucket(slates):
    """So that the buckets' means, weighted, are the mean of all."""
    lengths, value, users = np.array(slates).T
    found = systems.by_history(
        lengths, {"a": {"ndcg@6": value / 9}, "b": {"ndcg@6": 1 - value / 9}}, "ndcg@6", users, 100, 0
    )
    assert sum(bucket["slates"] for bucket in found.values()) == len(slates)
    for name, mean in (("a", value.mean() / 9), ("b", 1 - value.mean() / 9)):
        weighted = sum(bucket["slates"] * bucket["systems"][name]["ndcg@6"]["value"] for bucket in found.values())
        assert weighted / len(slates) == pytest.approx(mean, abs=1e-6)
    for bucket in found.values():
        low, high = bucket["systems"]["a"]["ndcg@6"]["interval"]
        assert low is None or low <= high
