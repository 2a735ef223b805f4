from itertools import permutations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from gr2 import metrics
from gr2.evaluation.ties import count_ties, measure_ties

LABELS = np.array([[0.0, 1, 0], [1, 0, 0], [0, 1, np.nan]])
ORDER = np.array([[0, 1, 2], [2, 0, 1], [0, 1, -1]])


def test_ties_are_counted_among_the_slates_with_scores():
    found = count_ties(pl.Series([[2.0, 2.0, 1.0], [3.0, 3.0, 1.0], None]), ORDER, LABELS, 2)
    assert found["tied"] == found["decisive"] == 1.0
    assert found["input_order"] == 0.5  # the second slate has its third item before its first one
    second = 1 / np.log2(3)
    assert np.isclose(found["worst"], np.mean([second, second, second]), atol=1e-6)
    assert np.isclose(found["best"], np.mean([1, 1, second]), atol=1e-6)


def test_ties_of_items_of_one_label_decide_nothing():
    found = count_ties(
        pl.Series([[2.0, 1.0, 1.0], [3.0, 2.0, 1.0], [1.0, 0.0]]), ORDER[[1, 1, 2]], LABELS[[2, 1, 2]], 2
    )
    assert found["tied"] == 0.333333
    found = count_ties(pl.Series([[2.0, 1.0, 1.0]]), np.array([[1, 0, 2]]), LABELS[:1], 2)
    assert (found["tied"], found["decisive"], found["worst"], found["best"]) == (1, 0, 1, 1)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.data())
def test_worst_and_best_are_the_bounds_of_every_way_to_break_the_ties(scores, data):
    labels = np.array([data.draw(st.lists(st.integers(0, 2), min_size=len(scores), max_size=len(scores)))], dtype=float)
    labels[0, data.draw(st.integers(0, len(scores) - 1))] = 1
    k = data.draw(st.integers(1, 5))
    orders = [o for o in permutations(range(len(scores))) if sorted(scores, reverse=True) == [scores[i] for i in o]]
    values = [metrics.ndcg(labels[:, list(order)], k)[0] for order in orders]
    mine = np.array([data.draw(st.sampled_from(orders))])
    found = count_ties(pl.Series([[float(scores[i]) for i in mine[0]]]), mine, labels, k)
    assert np.isclose(found["worst"], min(values), atol=1e-6) and np.isclose(found["best"], max(values), atol=1e-6)


def test_systems_without_scores_are_left_out_and_seeds_are_averaged():
    plain = pl.DataFrame({"valid": [True] * 3})
    tied = plain.with_columns(scores=pl.Series([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0]]))
    clear = plain.with_columns(scores=pl.Series([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [2.0, 1.0]]))
    broken = plain.with_columns(scores=pl.Series([[3.0, None, 1.0], [3.0, 2.0], None]))
    rankings = {"rule": [plain], "two": [tied, clear], "broken": [broken]}
    found = measure_ties(rankings, {name: [ORDER] * len(frames) for name, frames in rankings.items()}, LABELS, 2)
    assert list(found) == ["two", "broken"]
    assert found["two"]["tied"] == 0.5 and found["two"]["input_order"] == 0.666667
    assert found["broken"]["tied"] is None
    assert found["broken"]["worst"] == found["broken"]["best"]  # an answer without scores stays as it is
