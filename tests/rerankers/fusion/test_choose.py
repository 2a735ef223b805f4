import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.files.slates import Slate
from gr2.rerankers.fusion.choose import FOLDS, assign_folds, fit_way, judge_ways, list_ways, predict
from gr2.rerankers.fusion.models import fit_weights, grow_trees
from gr2.rerankers.fusion.table import Table


def planted(seed: int, weights: tuple[float, ...], count: int = 200):
    """Slates of six; the relevant one has the highest weighted sum of the members' scores, plus noise.

    Columns: two members' scores and ranks, which say nothing here, and a feature.
    """
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count * 6, 5))
    worth = rows[:, [0, 2, 4]] @ np.array(weights) + 0.5 * rng.gumbel(size=count * 6)
    labels = (worth.reshape(count, 6) == worth.reshape(count, 6).max(1, keepdims=True)).astype(float)
    names = ("member0_score", "member0_rank", "member1_score", "member1_rank", "age")
    slates = [
        Slate(str(at), ["h"], list("abcdef"), row.tolist(), user_id=str(at // 2)) for at, row in enumerate(labels)
    ]
    return Table(names, rows, np.full(count, 6)), slates, labels.ravel()


@given(st.lists(st.integers(0, 40).map(str), min_size=1, max_size=200), st.integers(0, 3))
def test_a_users_slates_are_in_one_fold_and_folds_are_even(users, seed):
    folds = assign_folds(users, seed)
    by_user = dict(zip(users, folds.tolist(), strict=True))
    assert [by_user[user] for user in users] == folds.tolist()
    sizes = np.bincount(list(by_user.values()), minlength=FOLDS)
    assert sizes.max() - sizes.min() <= 1 and folds.tolist() == assign_folds(users, seed).tolist()


def test_weights_are_the_least_of_the_penalised_loss():
    table, _, shares = planted(0, (1.0, 2.0, 0.0))
    names = ("member0_score", "member1_score", "age")
    weights = fit_weights(table, names, shares, penalty=0.1)
    columns, scale = table.columns(names), table.columns(names).std(0)

    def loss(values: np.ndarray) -> float:
        odds = table.softmax(columns @ values)
        return -(shares * np.log(odds)).sum() / 200 + 0.05 * ((values * scale) ** 2).sum()

    found = np.array(list(weights.values()))
    for step in np.eye(3) * 1e-2:
        assert loss(found) < min(loss(found + step), loss(found - step))
    assert weights["member1_score"] > 1.5 * weights["member0_score"] > 0.3 and abs(weights["age"]) < 0.15


def test_a_column_that_never_changes_has_no_weight():
    table, _, shares = planted(0, (1.0, 0.0, 0.0))
    still = Table(table.names, np.column_stack([table.rows[:, :4], np.full(len(table.rows), 3.0)]), table.sizes)
    assert abs(fit_weights(still, ("member0_score", "age"), shares, 0.01)["age"]) < 1e-12


def test_trees_learn_what_no_weight_can_say():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 2))
    worth = rows[:, 0] * np.sign(rows[:, 1]) + 0.1 * rng.gumbel(size=3000)
    shares = (worth.reshape(-1, 6) == worth.reshape(-1, 6).max(1, keepdims=True)).astype(float).ravel()
    table, labels = Table(("a", "b"), rows, np.full(500, 6)), shares.reshape(-1, 6).tolist()
    trees = predict(grow_trees(table, ("a", "b"), shares, 80, seed=0), table)
    weights = predict(fit_weights(table, ("a", "b"), shares, 0.01), table)
    assert table.ndcg(trees, labels).mean() > 0.75 > table.ndcg(weights, labels).mean() + 0.15


@pytest.mark.parametrize(("weights", "kinds"), [
    ((3.0, 0.0, 0.0), {"member", "weights"}), ((2.0, 2.0, 0.0), {"mean", "weights"}), ((1.0, 3.0, 0.0), {"weights"}),
    ((0.5, 0.5, 3.0), {"weights", "trees"}),
])  # fmt: skip
def test_the_way_that_the_labels_were_made_in_is_found(weights, kinds):
    table, slates, shares = planted(1, weights)
    best = int(weights[1] > weights[0])
    ways = list_ways(table, 2, best)
    values = judge_ways(ways, table, slates, shares, seed=0)
    chosen = ways[values.mean(1).argmax()]
    assert chosen.kind in kinds
    assert ("age" in chosen.reads) == (weights[2] > 0)
    other, later, _ = planted(2, weights)
    labels = [slate.labels for slate in later]
    alone = predict(fit_way(ways[0], table, shares, 0), other)
    assert (
        other.ndcg(predict(fit_way(chosen, table, shares, 0), other), labels).mean() >= other.ndcg(alone, labels).mean()
    )


def test_no_way_is_judged_on_what_it_was_fitted_on():
    """Labels of nothing but noise: ways with many columns would look good if they saw them."""
    table, slates, shares = planted(3, (0.0, 0.0, 0.0))
    ways = list_ways(table, 2, 0)
    values = judge_ways(ways, table, slates, shares, seed=0).mean(1)
    labels = [slate.labels for slate in slates]
    seen = table.ndcg(predict(fit_way(ways[-1], table, shares, 0), table), labels).mean()
    assert seen > 0.8 and values.max() < 0.62
