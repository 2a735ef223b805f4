"""Timestamps: no order is lost, no unit is mistaken, old data stay as they were."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.data.splits import order_events
from gr2.errors import InputError
from gr2.files.times import FINE, LIMIT, add_times

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
LATE = 100_000_000  # 1973: later times are of the unit that they look like
seconds = st.integers(-LIMIT, 19_000_100) | st.integers(20_991_232, LIMIT - 1)  # those between may look like dates
moments = st.integers(LATE * 10**9, LIMIT * 10**9 - 1)  # nanoseconds


def events(times, dtype=None):
    return pl.DataFrame(
        {
            "user_id": ["u"] * len(times),
            "item_id": [f"i{n}" for n in range(len(times))],
            "timestamp": pl.Series(times, dtype=dtype),
        }
    )


def read(times, dtype=None):
    return add_times(events(times, dtype), "events.parquet")


@given(st.lists(seconds, max_size=20))
def test_seconds_stay_as_they_are_and_need_no_other_column(times):
    times_read = read(times, pl.Int64)
    assert times_read.columns == ["user_id", "item_id", "timestamp"]
    assert times_read["timestamp"].to_list() == times and times_read["timestamp"].dtype == pl.Int64


@pytest.mark.parametrize("unit", UNITS)
@given(st.lists(moments, min_size=1, max_size=20))
def test_numbers_of_any_unit_are_recognised(unit, nanoseconds):
    times = [moment // (10**9 // UNITS[unit]) for moment in nanoseconds]
    times_read = read(times, pl.Int64)
    assert times_read["timestamp"].to_list() == [moment // 10**9 for moment in nanoseconds]
    again = read([str(time) for time in times])
    assert again.equals(times_read)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@given(st.lists(moments, min_size=1, max_size=20))
def test_datetimes_give_the_same_as_numbers_of_their_unit(unit, nanoseconds):
    times = pl.Series([moment // (10**9 // UNITS[unit]) for moment in nanoseconds], dtype=pl.Int64)
    assert read(times.cast(pl.Datetime(unit))).equals(read(times))
    assert read(times.cast(pl.Datetime(unit)).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")).equals(
        read(times)
    )


@pytest.mark.parametrize("form", ["ms", "us", "ns", "datetime", "text"])
@given(
    st.lists(st.integers(0, 5 * 10**9), min_size=1, max_size=12, unique_by=lambda moment: moment // 10**6), st.randoms()
)
def test_the_order_within_seconds_is_never_lost(form, offsets, rng):
    """Moments at least a millisecond apart, in any order in the file."""
    rng.shuffle(offsets)
    times = pl.Series([1_700_000_000 * 10**9 + offset // 10**6 * 10**6 for offset in offsets], dtype=pl.Int64)
    if form in UNITS:
        given_times = times // (10**9 // UNITS[form])
    else:
        given_times = times.cast(pl.Datetime("ns"))
        given_times = given_times if form == "datetime" else given_times.dt.strftime("%Y-%m-%d %H:%M:%S%.9f")
    ordered = order_events(read(given_times), seed=0)
    assert ordered["item_id"].to_list() == [f"i{n}" for n in times.arg_sort()]


def test_a_given_position_is_stronger_than_a_time():
    frame = read([1_700_000_000_002, 1_700_000_000_001]).with_columns(pl.Series("position", [0, 1]))
    assert FINE in frame.columns
    assert order_events(frame, 0)["item_id"].to_list() == ["i0", "i1"]


@pytest.mark.parametrize(("times", "row", "complaint"), [
    ([1_704_086_763, 1_704_086_763_000], 0, "milliseconds since 1970, as 1704086763000 is, found 1704086763"),
    ([1_704_086_763_000, 0], 1, "milliseconds since 1970, as 1704086763000 is, found 0"),
    ([1_704_086_763_000, 1_704_086_763_000_000], 0, "microseconds since 1970"),
    ([1, 2, 1_704_086_763_000], 2, "seconds since 1970, as 2 is, found 1704086763000"),
    ([1, 20_240_131_120_000], 1, "seconds since 1970, or a date"),
    ([1, 5_000_000_000], 1, "seconds since 1970, or a date"),
    ([1, -5_000_000_000], 1, "seconds since 1970, or a date"),
    ([1, 2**63 - 1], 1, "seconds since 1970, or a date"),
    ([-(2**63)], 0, "seconds since 1970"),
    (["9999-12-31", "2024-01-01"], 0, "a time between 1840 and 2100"),
    (["0001-01-01", "2024-01-01"], 0, "a time between 1840 and 2100"),
    ([date(2024, 1, 1), date(2150, 1, 1)], 1, "a time between 1840 and 2100"),
    ([datetime(2024, 1, 1), None], 1, "a time between 1840 and 2100, found None"),
    (["2024-01-01", "soon"], 1, "dates as year-month-day, as most are, found 'soon'"),
    (["soon", "2024-01-01"], 0, "dates as year-month-day, as most are, found 'soon'"),
    (["02/01/2024", "03/01/2024"], 0, "a date like 2024-01-31, because nothing shows whether days or months"),
    (["31/01/2024", "01/31/2024"], 0, "a date like 2024-01-31, because nothing shows whether days or months"),
    (["31/01/2024", "31/02/2024"], 1, "dates as day/month/year, as most are, found '31/02/2024'"),
    ([20_240_131, 20_240_201], 0, "a date like 2024-01-31, or seconds since 1970, found 20240131"),
    ([1.0, 2.0**60], 1, "a number below 2^53"),
    ([1.0, float("nan")], 1, "seconds since 1970, as the other times are, found nan"),
    ([1.7e12, float("inf")], 1, "milliseconds since 1970, as the other times are, found inf"),
    (["1704086763000", "2024-03-01T10:00:00"], 1,
     "milliseconds since 1970, as the other times are, found '2024-03-01T10:00:00'"),
    (["1704086763000", "", "x"], 1, "milliseconds since 1970, as the other times are, found ''"),
    (["soon", ""], 0, "seconds since 1970, or a date and time like 2024-01-31 12:00:00, found 'soon'"),
])  # fmt: skip
def test_a_time_that_cannot_be_told_is_named(times, row, complaint):
    with pytest.raises(InputError) as refusal:
        read(times)
    assert str(refusal.value).startswith(f"events.parquet: row {row}, column 'timestamp': expected {complaint}")


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float16])
def test_short_floats_are_refused_whatever_they_hold(dtype):
    with pytest.raises(
        InputError, match=r"column 'timestamp': expected whole numbers or dates, found Float\d\d, which rounds"
    ):
        read([1.0, 2.0], dtype)


@pytest.mark.parametrize(
    "times", [[True], [b"1"], [[1]], [{"a": 1}], [timedelta(1)], ["02/01/2024"], ["1e9"], [None], [""]]
)
def test_other_types_are_refused(times):
    with pytest.raises(InputError, match=r"events\.parquet: .*column 'timestamp': expected"):
        read(times)


def test_float64_and_decimals_of_whole_seconds_are_seconds():
    assert read([1.7e9, 3.0])["timestamp"].to_list() == [1_700_000_000, 3]
    assert read(pl.Series([3, 4]).cast(pl.Decimal(12, 2)))["timestamp"].to_list() == [3, 4]
    assert read([1.7e12])["timestamp"].to_list() == [1_700_000_000]


@pytest.mark.parametrize("form", ["floats", "decimals", "text", "milliseconds"])
def test_numbers_may_have_fractions_which_order_events(form):
    """As Python's `time.time()` gives them."""
    times = pl.Series([1_715_179_929.75, 1_715_179_929.25, 1_715_179_929.0, -1.5])
    given_times = {
        "floats": times,
        "decimals": times.cast(pl.Decimal(14, 2)),
        "text": times.cast(pl.String),
        "milliseconds": times[:3] * 1000 + 0.5,
    }[form]
    times_read, plus = read(given_times), 500_000 if form == "milliseconds" else 0
    seconds = [1_715_179_929, 1_715_179_929, 1_715_179_929, -2][: len(given_times)]
    assert times_read["timestamp"].to_list() == seconds
    nanoseconds = [1_715_179_929_750_000_000, 1_715_179_929_250_000_000, 1_715_179_929_000_000_000, -1_500_000_000]
    assert times_read[FINE].to_list() == [time + plus for time in nanoseconds[: len(given_times)]]
    ordered = order_events(times_read, seed=0)["item_id"].to_list()
    assert ordered == ["i3", "i2", "i1", "i0"][-len(given_times) :]


@given(st.lists(st.floats(LATE, LIMIT - 1), min_size=1, max_size=20, unique=True))
def test_floats_that_differ_are_never_tied(times):
    ordered = order_events(read(times), seed=0)
    assert ordered["item_id"].to_list() == [f"i{n}" for n in pl.Series(times).arg_sort()]


def test_zones_and_parts_of_a_second_may_stand_in_text():
    times_read = read(["2024-01-31T12:00:00Z", "2024-01-31T12:00:00.25Z"])
    noon = int(datetime(2024, 1, 31, 12, tzinfo=UTC).timestamp())
    assert times_read["timestamp"].to_list() == [noon, noon]
    assert times_read[FINE].to_list() == [noon * 10**9, noon * 10**9 + 250_000_000]


def test_no_times_are_no_times():
    assert read([], pl.Int64)["timestamp"].to_list() == []
