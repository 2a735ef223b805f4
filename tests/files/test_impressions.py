import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.files.impressions import read_impressions
from tests.files.examples import write_table

LOG = {
    "request_id": ["r0", "r0", "r1", "r1"],
    "user_id": ["u", "u", "v", "v"],
    "item_id": ["a", "b", "b", "c"],
    "position": [1, 2, 1, 2],
    "click": [0, 1, 0, 0],
    "timestamp": [100, 100, 200, 200],
    "propensity": [1.0, 0.5, 1.0, 0.5],
    "score": [2.0, 1.0, 0.5, -0.5],
}


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_a_log_is_read_from_any_table(tmp_path, ending):
    frame, lost = read_impressions(write_table(tmp_path, LOG, ending))
    assert lost == 0 and frame["click"].to_list() == [0.0, 1.0, 0.0, 0.0]
    assert frame.drop("click").to_dict(as_series=False) == {key: own for key, own in LOG.items() if key != "click"}


@pytest.mark.parametrize(("clicks", "read"), [
    ([False, True, False, True], [0, 1, 0, 1]), ([0, 1, 0, 1], [0, 1, 0, 1]), ([0.0, 2.5, 0.0, 30.0], [0, 2.5, 0, 30]),
])  # fmt: skip
@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_a_click_is_true_or_one_or_a_grade(tmp_path, ending, clicks, read):
    assert read_impressions(write_table(tmp_path, LOG, ending, click=clicks))[0]["click"].to_list() == read


@pytest.mark.parametrize("times", [
    [1_600_000_000_000] * 4, ["2020-09-13T12:26:40"] * 4, ["2020-09-13 12:26:40"] * 4, ["1600000000"] * 4,
    [1_600_000_000.0] * 4,
])  # fmt: skip
def test_a_time_is_a_number_or_a_date(tmp_path, times):
    assert (
        read_impressions(write_table(tmp_path, LOG, timestamp=times))[0]["timestamp"].to_list() == [1_600_000_000] * 4
    )


@given(st.permutations(range(4)), st.integers(0, 1))
def test_positions_are_counted_from_one(tmp_path_factory, order, start):
    positions = [start, start + 1, start, start + 3]  # one position shows nothing
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    pl.DataFrame(LOG | {"position": positions})[list(order)].write_parquet(path)
    found = read_impressions(path)[0].sort("request_id", "position")
    assert found["position"].to_list() == [1, 2, 1, 4] and found["item_id"].to_list() == LOG["item_id"]


def test_a_click_without_a_position_is_counted_and_left_out(tmp_path):
    frame, lost = read_impressions(write_table(tmp_path, LOG, position=[1, None, 1, 2]))
    assert lost == 1 and frame["item_id"].to_list() == ["a", "b", "c"]
    frame, lost = read_impressions(write_table(tmp_path, LOG, position=[0, None, 0, 1]))
    assert lost == 1 and frame["position"].to_list() == [1, 1, 2]


@pytest.mark.parametrize(("changed", "row", "column", "expectation"), [
    ({"request_id": ["r0", "", "r1", "r1"]}, 1, "request_id", "an id"),
    ({"user_id": ["u", "v", "v", "v"]}, 1, "user_id", "one user a request, found 'v'"),
    ({"item_id": ["a", "a", "b", "c"]}, 1, "item_id", "no item twice in a request, found 'a'"),
    ({"item_id": ["a", None, "b", "c"]}, 1, "item_id", "an id"),
    ({"position": [1, 2, 2, 2]}, 3, "position", "no position twice in a request, found 2"),
    ({"position": [1, 2, 1, -1]}, 3, "position", "a whole number, from 1 or from 0 on, found -1"),
    ({"position": [1, 2, None, 2]}, 2, "position", "a whole number, found None"),
    ({"position": [1.0, 1.5, 1.0, 2.0]}, 1, "position", "a whole number, found 1.5"),
    ({"click": [0, 1, -1, 0]}, 2, "click", "0 or 1, false or true, or a grade of at least 0, found -1"),
    ({"click": [0, None, 0, 0]}, 1, "click", "0 or 1, false or true"),
    ({"click": [0.0, float("nan"), 0.0, 0.0]}, 1, "click", "0 or 1, false or true"),
    ({"propensity": [1.0, 0.0, 1.0, 0.5]}, 1, "propensity", "a number above 0 and of at most 1, found 0.0"),
    ({"propensity": [1.0, -0.5, 1.0, 0.5]}, 1, "propensity", "a number above 0 and of at most 1, found -0.5"),
    ({"propensity": [1.0, 0.5, 1.5, 0.5]}, 2, "propensity", "a number above 0 and of at most 1, found 1.5"),
    ({"propensity": [1.0, 0.5, 1.0, None]}, 3, "propensity", "a number above 0 and of at most 1, found None"),
    ({"propensity": [1.0, float("nan"), 1.0, 0.5]}, 1, "propensity", "a number above 0 and of at most 1, found nan"),
    ({"score": [1.0, float("inf"), 1.0, 0.5]}, 1, "score", "a finite number, found inf"),
    ({"timestamp": [100, None, 200, 200]}, 1, "timestamp", "a whole number, found None"),
])  # fmt: skip
def test_a_bad_row_is_named(tmp_path, changed, row, column, expectation):
    path = write_table(tmp_path, LOG, **changed)
    with pytest.raises(InputError) as refusal:
        read_impressions(path)
    assert str(refusal.value).startswith(f"{path}: row {row}, column '{column}': expected {expectation}")


def test_missing_columns_and_empty_logs_are_refused(tmp_path):
    for name in ("user_id", "item_id", "position", "click", "timestamp"):
        with pytest.raises(InputError, match=rf"column '{name}' is missing"):
            read_impressions(write_table(tmp_path, {key: own for key, own in LOG.items() if key != name}))
    path = tmp_path / "empty.parquet"
    pl.DataFrame(LOG).clear().write_parquet(path)
    with pytest.raises(InputError, match="expected a row for each item that was shown, found none"):
        read_impressions(path)


def test_what_a_user_was_shown_at_one_time_is_a_request_where_requests_have_no_ids(tmp_path):
    log = {key: own for key, own in LOG.items() if key != "request_id"}
    frame, _ = read_impressions(write_table(tmp_path, log))
    assert frame["request_id"].to_list() == ["u@100", "u@100", "v@200", "v@200"]
    fine = log | {"timestamp": [1_700_000_000_001, 1_700_000_000_001, 1_700_000_000_002, 1_700_000_000_002]}
    frame, _ = read_impressions(write_table(tmp_path, fine | {"user_id": ["u"] * 4}))  # two requests in a second
    assert frame["request_id"].n_unique() == 2
    with pytest.raises(InputError, match="column 'position': expected no position twice in a request"):
        read_impressions(write_table(tmp_path, log | {"user_id": ["u"] * 4, "timestamp": [1] * 4}))
