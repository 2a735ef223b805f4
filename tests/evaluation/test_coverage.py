import numpy as np
import polars as pl
import pytest

from gr2.arrays import pad
from gr2.evaluation.coverage import catalogue_coverage, end_to_end, recall_ceiling
from gr2.metrics import measure


def test_end_to_end_is_the_mean_over_all_positions_where_a_missed_one_counts_0():
    labels = np.array([[0.0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]])
    order = np.tile([1, 0, 2, 3], (3, 1))
    values = measure(labels, order, np.ones(3, bool))
    missed = 5
    systems = {"mine": {metric: value.mean() for metric, value in values.items()}}
    report = {"protocol": "next", "splits": {"test": {"positions": 3 + missed, "missed": missed, "slates": 3}}}
    systems["mine"]["hr@1%"] = 0.5
    main = ("recall@1", "ndcg@3", "precision@3", "f1@3", "hr@1%")
    intervals = {"mine": {metric: [0.5, None] for metric in main}}
    found = end_to_end(systems, intervals, main, recall_ceiling(report, "test"))
    assert found["recall_ceiling"] == 3 / 8
    assert set(found["systems"]["mine"]) == {"recall@1", "ndcg@3"}  # no other one is 0 for want of a target
    for metric, own in found["systems"]["mine"].items():
        everywhere = np.concatenate([values[metric], np.zeros(missed)])
        assert own["value"] == pytest.approx(everywhere.mean(), abs=1e-6)
        assert own["interval"] == [0.1875, None]


def test_without_counts_there_is_no_ceiling():
    assert recall_ceiling(None, "test") is None and end_to_end({}, {}, (), None) is None
    empty = {"protocol": "next", "splits": {"test": {"positions": 0, "missed": 0, "slates": 0}}}
    assert recall_ceiling(empty, "test") is None and recall_ceiling(empty, "valid") is None


@pytest.mark.parametrize("protocol", ["later", "impressions", "log"])
def test_where_nothing_was_retrieved_there_is_no_ceiling(protocol):
    report = {"protocol": protocol, "splits": {"test": {"positions": 9, "missed": 4, "slates": 5}}}
    assert recall_ceiling(report, "test") is None


def test_coverage_counts_the_different_items_that_are_shown():
    candidates = pl.Series([["a", "b", "c"], ["b", "d"], ["a", "d", "e"]])
    given = pad([range(3), range(2), range(3)], -1)
    turned = pad([range(3)[::-1], range(2)[::-1], range(3)[::-1]], -1)
    found = catalogue_coverage(candidates, {"given": [given], "both": [given, turned]}, k=1, catalogue=9)
    assert found == {"k": 1, "catalogue": 9, "candidates": 5, "systems": {"given": 2.0, "both": 2.5}}
    whole = catalogue_coverage(candidates, {"given": [given]}, k=3, catalogue=None)
    assert whole["systems"] == {"given": 5.0} and whole["catalogue"] is None
