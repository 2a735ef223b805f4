import polars as pl
import pytest

from gr2.errors import InputError
from gr2.evaluation.robustness import measure_robustness
from gr2.evaluation.significance import Resampling
from gr2.files.rankings import Ranking, write_shuffled

SLATES = pl.DataFrame({
    "slate_id": ["s", "t", "u"], "user_id": ["a", "a", "b"], "candidates": [["1", "2", "3"]] * 3,
})  # fmt: skip
OWN = pl.DataFrame({"slate_id": ["s", "t", "u"], "ranking": [["3", "1", "2"]] * 3, "valid": [True, True, False]})


def measured(folder, *answers):
    write_shuffled([(shuffle, Ranking(*answer)) for shuffle, *answer in answers], folder / "shuffled.parquet")
    files = {"mine": [f"{folder}/rankings.parquet"], "none": ["elsewhere/rankings.parquet"]}
    return measure_robustness(files, {"mine": [OWN], "none": [OWN]}, SLATES, Resampling(SLATES["user_id"], 100, 0))


def test_answers_are_compared_with_the_own_answer_where_both_are_valid(tmp_path):
    found = measured(
        tmp_path,
        (0, "s", ["3", "1", "2"]),
        (1, "s", ["3", "2", "1"]),
        (0, "t", ["2", "1", "3"]),
        (1, "t", ["1", "2", "3"], False),  # unusable: no answer
        (0, "u", ["3", "1", "2"]),  # to the slate itself there is none
        (0, "of another split", ["7"]),
    )
    assert list(found) == ["mine"]
    assert (found["mine"]["slates"], found["mine"]["shuffles"]) == (2, 2)
    assert found["mine"]["kendall_tau"]["value"] == pytest.approx((1 + 1 / 3 - 1) / 3, abs=1e-6)
    assert found["mine"]["same_first"] == {"value": 0.666667, "interval": [None, None]}  # of one user


def test_nothing_is_said_where_no_pair_is_valid(tmp_path):
    assert measured(tmp_path, (0, "u", ["3", "1", "2"])) == {}


def test_answers_of_other_items_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"shuffled\.parquet: .*'ranking': expected a permutation"):
        measured(tmp_path, (0, "s", ["3", "1", "7"]))
