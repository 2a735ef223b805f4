from decimal import Decimal

import polars as pl
import pytest

from gr2.errors import InputError
from gr2.files.rankings import Ranking, read_rankings, tabulate, write_rankings
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


def test_rankings_come_back_with_the_columns_that_the_reranker_gives(tmp_path):
    path = tmp_path / "rankings.parquet"
    plain = [Ranking("s", ["b", "a"]), Ranking("t", ["c"])]
    scored = [Ranking("s", ["b", "a"], scores=[2.0, 1.0]), Ranking("t", ["c"], scores=[0.0])]
    written = [
        Ranking("s", ["a", "b"], False, None, None, "truncated", "", 90, 9, 0.5),
        Ranking("t", ["c"], reasoning="It fits.", completion_tokens=3, latency_ms=0.5),
    ]
    for rankings, more in (
        (plain, []),
        (scored, ["scores"]),
        (written, ["reason", "reasoning", "prompt_tokens", "completion_tokens", "latency_ms"]),
    ):
        write_rankings(tabulate(rankings), path)
        frame = read_rankings(path, pl.DataFrame({"slate_id": ["s", "t"], "candidates": [["a", "b"], ["c"]]}))
        assert frame.columns == ["slate_id", "ranking", "valid", *more]
        assert [Ranking(**row) for row in frame.iter_rows(named=True)] == rankings


def test_a_column_of_nothing_has_its_type(tmp_path):
    write_rankings(tabulate([Ranking("s", ["a", "b"], completion_tokens=3)]), tmp_path / "rankings.parquet")
    frame = pl.read_parquet(tmp_path / "rankings.parquet")
    assert frame["reason"].dtype == pl.String and frame["latency_ms"].dtype == pl.Float64
