import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.files.artifacts import sha256, write_json, write_text
from gr2.runner.stage import run_stage
from gr2.stages.promote import decide

SLATES = 60


@pytest.fixture
def judge(tmp_path):
    """Runs `gr2 promote` on slates of five where the new reranker puts the target at the places `new`, and so on."""

    def run(new, old, served="folder", **options):
        names = [f"s{number:02d}" for number in range(SLATES)]
        candidates = [[f"i{place}" for place in range(5)]] * SLATES
        users = [f"u{number % 30}" for number in range(SLATES)]
        slates = {"slate_id": names, "user_id": users, "history": [["i9"]] * SLATES, "candidates": candidates,
                  "labels": [[0.0, 0, 0, 0, 1]] * SLATES, "split": ["test"] * SLATES}  # fmt: skip
        pl.DataFrame(slates).write_parquet(tmp_path / "slates.parquet")
        old_reranker = tmp_path / "old_folder" if served == "folder" else served
        rerankers = {"new": tmp_path / "new_folder", "old": old_reranker}
        for name, places in (("new", new), ("old", old)):
            rankings = [put(place) for _, place in zip(range(SLATES), places * SLATES, strict=False)]
            ranked = pl.DataFrame({"slate_id": names, "ranking": rankings, "valid": [True] * SLATES})
            write_text(tmp_path / f"{name}_folder/model.txt", name)
            write_rankings(tmp_path / name, ranked, rerankers[name])
        words = {"slates": tmp_path / "slates.parquet", **rerankers,
                 "new_rankings": tmp_path / "new/rankings.parquet", "old_rankings": tmp_path / "old/rankings.parquet",
                 "output_dir": tmp_path / "days/2026-03-01/promote", "resamples": 500} | options  # fmt: skip
        run_stage("promote", [word for name, value in words.items() for word in (f"--{name}", str(value))])
        days = tmp_path / "days"
        decision = json.loads((days / "2026-03-01/promote/decision.json").read_text())
        assert json.loads((days / "decisions.jsonl").read_text()) == decision
        return decision, days

    return run


def write_rankings(folder, ranked, reranker):
    """With what the manifest of `gr2 rerank` says of the reranker."""
    folder.mkdir(exist_ok=True)
    ranked.write_parquet(folder / "rankings.parquet")
    inputs = {str(file): sha256(file) for file in Path(reranker).glob("*")}
    outputs = {"rankings.parquet": sha256(folder / "rankings.parquet")}
    made = {"stage": "rerank", "config": {"reranker": str(reranker)}, "inputs": inputs, "outputs": outputs}
    write_json(folder / "manifest.json", made)


def put(place):
    items = [f"i{number}" for number in range(4)]
    return [*items[:place], "i4", *items[place:]]


def test_a_better_one_serves_and_a_worse_one_does_not(judge):
    decision, days = judge([0], [0, 4])
    assert decision["decision"] == "promoted" and decision["difference"] > 0.1 and decision["users"] == 30
    assert decision["serving"] == "2026-03-01/promote/reranker" and os.readlink(days / "current") == "2026-03-01"
    assert (days / decision["serving"] / "model.txt").read_text() == "new"
    decision, days = judge([0, 4], [0])
    assert decision["decision"] == "kept" and (days / decision["serving"] / "model.txt").read_text() == "old"
    assert "is not ruled out: the interval's lower end is -" in decision["reason"]


def test_two_that_answer_alike_are_the_margins_question(judge):
    assert judge([1, 2], [1, 2])[0]["decision"] == "promoted"
    assert judge([1, 2], [1, 2], margin=0)[0]["decision"] == "kept"


def test_on_the_first_day_nothing_serves_where_the_input_order_is_better(judge):
    decision, days = judge([4], [0], served="input_order")
    assert decision["decision"] == "kept" and decision["serving"] == decision["old"] == "input_order"
    assert not (days / "current").is_symlink() and not (days / "2026-03-01/promote/reranker").exists()


def test_rankings_of_another_reranker_decide_nothing(judge, tmp_path):
    new, old = (tmp_path / name / "rankings.parquet" for name in ("new", "old"))
    with pytest.raises(
        InputError, match=r"--new_rankings .*: expected rankings of .*new_folder, found those of .*old_f"
    ):
        judge([0], [0, 4], new_rankings=old)
    with pytest.raises(
        InputError, match=r"--old_rankings .*: expected rankings of .*old_folder, found those of .*new_f"
    ):
        judge([0], [0, 4], old_rankings=new)
    (tmp_path / "copied").mkdir()
    alone = shutil.copy(new, tmp_path / "copied")
    with pytest.raises(InputError, match=r"--new_rankings .*copied.*: expected the manifest of `gr2 rerank` beside it"):
        judge([0], [0, 4], new_rankings=alone)
    assert not (tmp_path / "days/decisions.jsonl").exists()


@given(st.floats(-1, 1), st.floats(0, 1))
def test_a_loss_of_more_than_the_margin_is_ruled_out_or_it_is_kept(low, margin):
    decision, reason = decide(low, margin)
    assert (decision == "promoted") == (low > -margin) and f"{margin:g}" in reason


def test_one_user_decides_nothing():
    assert decide(None, 1.0)[0] == "kept"
