"""Estimates from simulated clicks, whose truth is known: P(click) = 1 / position * P(click | looked at)."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.arrays import pad_lists
from gr2.evaluation.counterfactual import estimate
from gr2.evaluation.significance import Resampling

K, CUT, REQUESTS, LOGS = 8, 3, 300, 60
LOOKED = 1 / np.arange(1, K + 1)


def show(rng, count=REQUESTS):
    """P(click | looked at) as shown, float [count, K], by a ranker that is little better than chance; and the orders of
    a better one, int [count, K].
    """
    relevance = rng.beta(0.6, 2.0, size=(count, K))
    shown = np.argsort(-(0.3 * relevance + rng.normal(scale=0.3, size=relevance.shape)), axis=1)
    relevance = np.take_along_axis(relevance, shown, 1)
    return relevance, np.argsort(-(relevance + rng.normal(scale=0.1, size=relevance.shape)), axis=1)


def worth(relevance, order):
    """DCG@CUT, hits@CUT and all relevance of each request."""
    ranked = np.take_along_axis(relevance, order, 1)[:, :CUT]
    return ranked @ (1 / np.log2(np.arange(2, CUT + 2))), ranked.sum(1), relevance.sum(1)


def estimated(labels, propensities, orders, least=0.01, resamples=150):
    """`estimate` of one request a user; orders: name -> int [n, K]."""
    frame = pl.DataFrame({"user_id": [f"u{n}" for n in range(len(labels))], "propensities": propensities.tolist(),
                          "labels": labels.tolist()})  # fmt: skip
    clicked = frame["labels"].list.max() > 0
    slates, seen = frame.filter(clicked), clicked.to_numpy()
    resampling = Resampling(slates["user_id"].rank("dense").to_numpy(), resamples, 0)
    several = {name: [order[seen]] for name, order in orders.items()}
    own = pad_lists(slates["labels"], np.nan)
    return estimate(slates, frame.filter(~clicked), own, several, CUT, least, resampling)


@pytest.fixture(scope="module")
def runs():
    """Logs: of each the estimates of both orders."""
    found = []
    for seed in range(LOGS):
        rng = np.random.default_rng(seed)
        relevance, better = show(rng)
        clicks = (rng.random(relevance.shape) < LOOKED * relevance).astype(float)
        orders = {"input_order": np.tile(np.arange(K), (REQUESTS, 1)), "better": better}
        found.append(estimated(clicks, np.tile(LOOKED, (REQUESTS, 1)), orders)["systems"])
    return found


@pytest.fixture(scope="module")
def truth():
    """By estimate, system and metric, from 200,000 requests."""
    relevance, better = show(np.random.default_rng(1000), 200_000)
    found = {}
    for name, order in (("input_order", np.tile(np.arange(K), (len(better), 1))), ("better", better)):
        dcg, hits, everything = (own.mean() for own in worth(relevance, order))
        found["ips", name] = {"dcg@3": dcg, "hits@3": hits}
        found["snips", name] = {"dcg@3": dcg / everything, "hits@3": hits / everything}
    return found


def test_plain_figures_favour_the_order_that_was_shown(runs, truth):
    gain = truth["snips", "better"]["dcg@3"] - truth["snips", "input_order"]["dcg@3"]
    plain = [run["better"]["plain"]["dcg@3"]["value"] - run["input_order"]["plain"]["dcg@3"]["value"] for run in runs]
    assert gain > 0.2 and np.mean(plain) < 0.05, "the better order looks no better"
    assert np.mean([run["better"]["gain"]["dcg@3"]["value"] for run in runs]) == pytest.approx(gain, abs=0.01)


@pytest.mark.parametrize("kind", ["ips", "snips"])
@pytest.mark.parametrize("system", ["input_order", "better"])
@pytest.mark.parametrize("metric", ["dcg@3", "hits@3"])
def test_ips_and_snips_find_the_truth_and_their_intervals_hold_it(runs, truth, kind, system, metric):
    known, found = truth[kind, system][metric], [run[system][kind][metric] for run in runs]
    values = np.array([own["value"] for own in found])
    assert abs(values.mean() - known) < 4 * values.std() / np.sqrt(len(values)) + 0.002
    held = np.mean([own["interval"][0] <= known <= own["interval"][1] for own in found])
    assert held >= 0.86  # 57 of 60 are expected, with a standard deviation of 1.7


def test_the_formulas_by_hand():
    """Three requests of which two have a click, at positions 2 and 1; the other order swaps the first two."""
    labels = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    propensities = np.tile([1.0, 0.5, 0.25], (3, 1))
    orders = {"input_order": np.tile([0, 1, 2], (3, 1)), "swap": np.tile([1, 0, 2], (3, 1))}
    found = estimated(labels, propensities, orders)
    second = 1 / np.log2(3)
    values = {kind: own["dcg@3"]["value"] for kind, own in found["systems"]["swap"].items()}
    assert values["plain"] == pytest.approx((1 + second) / 2, abs=1e-6)
    assert values["ips"] == pytest.approx((2 * 1 + 1 * second) / 3, abs=1e-6)
    assert values["snips"] == pytest.approx((2 * 1 + 1 * second) / 3, abs=1e-6)
    assert values["gain"] == pytest.approx((2 + second - 2 * second - 1) / 3, abs=1e-6)
    assert (found["requests"], found["clicks"], found["clipped"]) == (3, 2, 0)
    assert found["effective_clicks"] == pytest.approx(3**2 / (2**2 + 1**2))
    clipped = estimated(labels, propensities, orders, least=0.8)
    assert clipped["systems"]["swap"]["snips"]["dcg@3"]["value"] == pytest.approx((1.25 + second) / 2.25, abs=1e-6)
    assert clipped["clipped"] == 1


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([0.5, 3.0]))
def test_snips_knows_no_unit_and_is_plain_where_all_is_looked_at(seed, unit):
    rng = np.random.default_rng(seed)
    relevance, better = show(rng, 30)
    labels = (rng.random(relevance.shape) < relevance).astype(float)
    orders = {"input_order": np.tile(np.arange(K), (30, 1)), "better": better}
    one, same, other = (
        estimated(labels * by, np.full(labels.shape, propensity), orders, resamples=100)["systems"]["better"]
        for by, propensity in ((1, 1.0), (1, 0.5), (unit, 1.0))
    )
    assert one["snips"] == one["plain"]
    for found in (same, other):
        assert found["snips"]["dcg@3"]["value"] == pytest.approx(one["snips"]["dcg@3"]["value"], abs=2e-6)
    assert same["ips"]["dcg@3"]["value"] == pytest.approx(2 * one["ips"]["dcg@3"]["value"], abs=2e-6)


def warning(propensities):
    labels, count = np.zeros((len(propensities), K)), len(propensities)
    labels[:, 0] = 1.0
    shown = np.full(labels.shape, 1.0)
    shown[:, 0] = propensities
    return estimated(labels, shown, {"input_order": np.tile(np.arange(K), (count, 1))}, least=1e-6)


@pytest.mark.parametrize(("propensities", "effective", "said"), [
    ([0.5] * 150, 150, None),
    ([0.5] * 99, 99, "is 99 of 99 clicks, below 100:"),
    ([1.0] * 1999 + [0.001], 8.984, "is 9 of 2000 clicks, below 100:"),
    ([1.0] * 9900 + [0.01] * 100, 392.1, "is 392 of 10000 clicks, below 10 % of the clicks:"),
])  # fmt: skip
def test_a_small_effective_sample_is_warned_of(propensities, effective, said):
    found = warning(propensities)
    assert found["effective_clicks"] == pytest.approx(effective, rel=0.01)
    assert found["warning"] is None if said is None else said in found["warning"]
