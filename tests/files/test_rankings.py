from decimal import Decimal

import polars as pl
import pytest

from gr2.errors import InputError
from gr2.files.rankings import read_rankings
from tests.files.examples import RANKINGS, SLATES, write_table


def test_rankings_come_in_the_order_of_the_slates(tmp_path):
    rankings = read_rankings(write_table(tmp_path, RANKINGS), pl.DataFrame(SLATES))
    assert rankings["slate_id"].to_list() == ["s0", "s1"]
    assert rankings["ranking"].to_list() == [["b", "c"], ["a", "c"]]
    assert rankings["valid"].to_list() == [False, True]


def test_rankings_may_hold_other_slates_but_must_hold_all(tmp_path):
    path = write_table(
        tmp_path, {"slate_id": ["other", "s0", "s1"], "ranking": [["x"], ["c", "b"], ["zz"]], "valid": [True] * 3}
    )
    with pytest.raises(InputError, match=r"row 2, column 'ranking'.*\['zz'\]"):  # the file's row, not one of a join
        read_rankings(path, pl.DataFrame(SLATES))
    assert len(read_rankings(path, pl.DataFrame(SLATES).head(1))) == 1
    with pytest.raises(InputError, match=r"1 are missing, 's9' among them"):
        read_rankings(path, pl.DataFrame(SLATES | {"slate_id": ["s0", "s9"]}))


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"valid": [0.5, 1.0]}, "column 'valid': expected true or false, found Float64"),
    ({"valid": ["true", "false"]}, "column 'valid': expected true or false, found String"),
    ({"valid": [True, None]}, "row 1, column 'valid': expected true or false, found None"),
    ({"valid": [[True], [False]]}, r"column 'valid': expected true or false, found List\(Boolean\)"),
    ({"valid": [1, 2]}, "row 1, column 'valid': expected true or false, found 2"),
    ({"valid": pl.Series([Decimal("1.50")] * 2)}, "column 'valid': expected true or false, found Decimal"),
    ({"completion_tokens": ["12", "x"]}, "column 'completion_tokens': expected whole numbers, found String"),
    ({"completion_tokens": [1.5, 2.0]}, "row 0, column 'completion_tokens': expected a whole number, found 1.5"),
    ({"completion_tokens": [-1, 2]}, "row 0, column 'completion_tokens': expected a number of at least 0"),
])  # fmt: skip
def test_figures_of_rankings_are_what_they_should_be(tmp_path, changed, complaint):
    with pytest.raises(InputError, match=rf"table\.parquet: {complaint}"):
        read_rankings(write_table(tmp_path, RANKINGS, **changed), pl.DataFrame(SLATES))


def test_0_and_1_are_false_and_true(tmp_path):
    rankings = read_rankings(write_table(tmp_path, RANKINGS, valid=[1, 0]), pl.DataFrame(SLATES))
    assert rankings["valid"].to_list() == [False, True]
