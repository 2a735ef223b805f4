import numpy as np
import pytest

from gr2 import metrics
from gr2.files.rankings import Ranking
from gr2.files.slates import Slate
from gr2.rerankers.fusion.table import Table, add_features, read_members

SLATES = [Slate("s", ["h"], ["a", "b", "c"]), Slate("t", ["h"], ["d", "e"])]
SCORED = [Ranking("s", ["c", "a", "b"], scores=[5.0, 2.0, -1.0]), Ranking("t", ["d", "e"], scores=[1.0, 1.0])]
ORDERED = [Ranking("s", ["b", "a", "c"]), Ranking("t", ["e", "d"])]


def test_a_members_scores_and_ranks_by_hand():
    table = read_members(SLATES, [SCORED, ORDERED], [True, False])
    assert table.names == ("member0_score", "member0_rank", "member1_score", "member1_rank")
    assert table.sizes.tolist() == [3, 2]
    unit = 1.5**0.5  # (5, 2, -1) and (0, -1, -2) are the same, standardised
    assert table.rows[:, 0] == pytest.approx([0, -unit, unit, 0, 0])
    assert table.rows[:, 1] == pytest.approx([1 / 2, 1 / 3, 1, 1, 1 / 2])
    assert table.rows[:, 2] == pytest.approx([0, unit, -unit, -1, 1])
    assert table.rows[:, 3] == pytest.approx([1 / 2, 1, 1 / 3, 1 / 2, 1])


def test_scores_that_are_not_to_be_read_are_not_read():
    (given,) = [read_members(SLATES, [SCORED], [scored]).rows[:, 0] for scored in [False]]
    assert given[3:] == pytest.approx([1, -1])  # the order, where the two scores are equal


def test_features_stand_after_the_members():
    table = add_features(read_members(SLATES, [ORDERED], [False]), ("age",), [np.ones((3, 1)), np.full((2, 1), 7.0)])
    assert table.names[-1] == "age" and table.columns(("age",)).ravel().tolist() == [1, 1, 1, 7, 7]
    (chosen,) = [table.choose(np.array([False, True]))]
    assert chosen.sizes.tolist() == [2] and chosen.rows.tolist() == table.rows[3:].tolist()


def test_what_is_computed_of_slates_is_computed_of_each():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 7, 30)
    table = Table(("x",), np.zeros((sizes.sum(), 1)), sizes)
    values, labels = rng.normal(size=sizes.sum()) * 500, [rng.integers(0, 3, size) + 0.5 for size in sizes]
    found = table.ndcg(values, labels)
    for at, (own, odds) in enumerate(zip(table.split(values), table.split(table.softmax(values)), strict=True)):
        assert odds == pytest.approx(np.exp(own - own.max()) / np.exp(own - own.max()).sum())
        assert found[at] == pytest.approx(metrics.ndcg(labels[at][(-own).argsort()][None], 5)[0])
