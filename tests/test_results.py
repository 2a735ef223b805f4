"""The rows and tables of docs/results: seeds as the rankings have them, costs as `gr2 evaluate` counts them."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACE = {"dataset": "d", "n": 9, "seeds": [0], "command": "gr2 run lists", "commit": "c" * 40, "hardware": "h"}
PLACE |= {"date": "2026-11-29"}


@pytest.fixture
def results_lists(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import results_lists

    return results_lists


def test_seeds_that_the_rankings_do_not_have_are_not_recorded(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import results

    several = {"sft": {"ndcg@5": [0.4, 0.5, 0.6]}, "rl": {"ndcg@5": [0.4, 0.5]}}
    for found, given in (({}, [0]), (several, [0, 1, 2])):
        (tmp_path / "metrics.json").write_text(json.dumps({"seeds": found}))
        results.check_seeds(tmp_path, given)
    with pytest.raises(SystemExit, match="--seeds 0: expected 3, as a system of "):
        results.check_seeds(tmp_path, [0])


def test_costs_are_those_of_all_stages_in_batches_and_the_footnote_says_so(results_lists, tmp_path):
    metrics = {
        "slates": 9,
        "systems": {name: {"precision@6": 0.5} for name in ("input_order", "glorank")},
        "intervals": {name: {"precision@6": [0.4, 0.6]} for name in ("input_order", "glorank")},
        "costs": {"glorank": {"own_seconds": 25.0, "training_seconds": 96.4, "ms": 0.6428, "whole": True}},
        "comparisons": [],
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    rows, slates = results_lists.measured(tmp_path)
    found = {(row["system"], row["metric"]): row["value"] for row in rows}
    assert (found["glorank", "fit_seconds"], found["glorank", "ms_a_slate"], slates) == (96.4, 0.643, 9)
    assert ("input_order", "ms_a_slate") not in found
    table = results_lists.table([row | PLACE for row in rows])
    assert "| glorank | 0.500 [0.400, 0.600] |  | 96 | 0.64 |" in table
    assert "Fit: all stages that made the reranker" in table and "without loading" in table
    before = [{name: value for name, value in row.items() if name != "whole"} | PLACE for row in rows]
    assert "Fit: the last stage alone." in results_lists.table(before), "rows that were recorded by other rules"
