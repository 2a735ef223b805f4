import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranx import Qrels, Run, evaluate
from scipy.stats import kendalltau

from gr2 import metrics
from gr2.arrays import pad

CUT = (metrics.recall, metrics.ndcg, metrics.precision, metrics.average_precision, metrics.f1)


@st.composite
def slates(draw):
    """Slates of different lengths with graded labels, at least one of them relevant, and a new order for each."""
    sizes = draw(st.lists(st.integers(1, 8), min_size=1, max_size=5))
    labels = [draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any)) for n in sizes]
    orders = [draw(st.permutations(range(n))) for n in sizes]
    return pad(labels, np.nan), pad(orders, -1)


def example_lists(rng, n=40):
    labels = [rng.integers(0, 3, rng.integers(2, 9)).astype(float) for _ in range(n)]
    for row in labels:
        row[rng.integers(len(row))] = 1
    return labels


@pytest.mark.slow  # ranx compiles its metrics
@pytest.mark.parametrize("k", metrics.KS)
def test_agrees_with_ranx(k):
    labels = example_lists(np.random.default_rng(0))
    ranked = pad(labels, np.nan)
    judged = {f"q{i:02}": {f"d{j}": int(v) for j, v in enumerate(row) if v > 0} for i, row in enumerate(labels)}
    run = {f"q{i:02}": {f"d{j}": float(-j) for j in range(len(row))} for i, row in enumerate(labels)}
    names = {"recall": metrics.recall, "ndcg": metrics.ndcg, "precision": metrics.precision, "f1": metrics.f1}
    names["map"] = metrics.average_precision
    theirs = evaluate(Qrels(judged), Run(run), [f"{name}@{k}" for name in names], return_mean=False)
    for name, metric in names.items():
        np.testing.assert_allclose(metric(ranked, k), theirs[f"{name}@{k}"], atol=1e-9, err_msg=name)


def test_one_relevant_item_by_hand():
    ranked = pad([[0, 0, 1, 0], [1, 0]], np.nan)
    assert metrics.recall(ranked, 1).tolist() == [0, 1]
    assert metrics.recall(ranked, 3).tolist() == [1, 1]
    assert metrics.ndcg(ranked, 5).tolist() == [0.5, 1]
    assert metrics.average_precision(ranked, 5) == pytest.approx([1 / 3, 1])
    assert metrics.auc(ranked) == pytest.approx([1 / 3, 1])
    assert metrics.first_relevant_rank(ranked).tolist() == [3, 1]


def test_more_relevant_items_than_places_by_hand():
    ranked, best = pad([[1, 0, 1, 0, 0, 0, 1, 1]], np.nan), pad([[1, 1, 1, 1, 0, 0, 0, 0]], np.nan)
    assert metrics.precision(ranked, 3) == pytest.approx([2 / 3])
    assert metrics.f1(ranked, 3) == pytest.approx([4 / 7])
    assert metrics.ndcg(ranked, 3) == pytest.approx([1.5 / (1.5 + 1 / np.log2(3))])
    assert metrics.average_precision(ranked, 3) == pytest.approx([(1 + 2 / 3) / 4])  # not / 3
    assert metrics.average_precision(best, 3) == metrics.recall(best, 3) == 3 / 4


def test_undefined_where_nothing_is_relevant_or_everything():
    nothing, everything = pad([[0, 0]], np.nan), pad([[1, 2]], np.nan)
    for metric in (metrics.recall, metrics.ndcg, metrics.average_precision, metrics.f1):
        assert np.isnan(metric(nothing, 1)).all()
    assert np.isnan(metrics.auc(nothing)).all() and np.isnan(metrics.auc(everything)).all()
    assert np.isnan(metrics.first_relevant_rank(nothing)).all()


@given(slates())
def test_bounds(slate):
    labels, order = slate
    ranked = metrics.ranked_labels(labels, order)
    for metric in CUT:
        for k in metrics.KS:
            assert ((metric(ranked, k) >= 0) & (metric(ranked, k) <= 1 + 1e-12)).all()
    auc = metrics.auc(ranked)
    assert (np.isnan(auc) | ((auc >= 0) & (auc <= 1))).all()
    assert (np.abs(metrics.kendall_tau(order)) <= 1).all()


@given(slates())
def test_the_best_order_is_the_maximum(slate):
    labels, order = slate
    best = metrics.ranked_labels(labels, np.where(order < 0, -1, np.argsort(-labels, axis=1, kind="stable")))
    ranked = metrics.ranked_labels(labels, order)
    for metric in CUT:
        for k in metrics.KS:
            assert (metric(best, k) >= metric(ranked, k) - 1e-12).all()
    assert (metrics.ndcg(best, 3) == pytest.approx(1)) and np.nan_to_num(metrics.auc(best), nan=1).min() == 1


@given(slates(), st.integers(0, 99))
def test_metrics_see_only_the_ranked_labels(slate, seed):
    """Shuffling the input order and asking for the same list again changes no metric; nor does the slates' order."""
    labels, order = slate
    renamed, reordered, rng = labels.copy(), order.copy(), np.random.default_rng(seed)
    for i, size in enumerate((order >= 0).sum(1)):
        shuffle = rng.permutation(size)
        renamed[i, :size] = labels[i, shuffle]
        reordered[i, :size] = shuffle.argsort()[order[i, :size]]
    before, after = metrics.ranked_labels(labels, order), metrics.ranked_labels(renamed, reordered)
    np.testing.assert_array_equal(before, after)
    for metric in CUT:
        np.testing.assert_allclose(metric(before[::-1], 3), metric(before, 3)[::-1])


@given(st.lists(st.integers(2, 9), min_size=1, max_size=5))
def test_copy_and_reversal(sizes):
    copied = pad([range(n) for n in sizes], -1)
    reversed_order = pad([range(n)[::-1] for n in sizes], -1)
    labels = pad([[0] * (n - 1) + [1] for n in sizes], np.nan)
    assert metrics.is_identity(copied).all() and not metrics.is_identity(reversed_order).any()
    assert (metrics.kendall_tau(copied) == 1).all() and (metrics.kendall_tau(reversed_order) == -1).all()
    assert (metrics.rank_change(labels, copied) == 0).all()
    assert metrics.rank_change(labels, reversed_order).tolist() == [n - 1 for n in sizes]


@settings(max_examples=50)
@given(st.integers(2, 9).flatmap(lambda n: st.permutations(range(n))))
def test_kendall_tau_agrees_with_scipy(order):
    tau = metrics.kendall_tau(pad([order, range(12)], -1))
    assert tau[0] == pytest.approx(kendalltau(range(len(order)), order).statistic)


def test_measure_names_every_metric_once():
    labels = pad([[0, 1, 0], [1, 0, 0]], np.nan)
    values = metrics.measure(labels, pad([[1, 0, 2], [0, 1, 2]], -1), np.array([True, True]))
    assert set(metrics.TOP.main) < set(values) and all(v.shape == (2,) for v in values.values())
    assert values["recall@1"].tolist() == [1, 1]
    assert values["identity_rate"].tolist() == [0, 1] and values["rank_change"].tolist() == [1, 0]


def test_a_list_is_measured_at_its_length_alone():
    yardstick = metrics.of_lists(2)
    values = metrics.measure(pad([[0, 1, 1]], np.nan), pad([[1, 0, 2]], -1), np.array([True]), yardstick.ks)
    assert yardstick.main == ("precision@2", "ndcg@2", "map@2", "f1@2") and yardstick.headline == "ndcg@2"
    ndcg = 1 / (1 + 1 / np.log2(3))
    assert [values[metric].item() for metric in yardstick.main] == pytest.approx([1 / 2, ndcg, 1 / 2, 1 / 2])
    assert [metric for metric in values if "@" in metric and not metric.endswith("@2")] == []
