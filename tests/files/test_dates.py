from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.files.dates import parse_dates

FORMS = {
    "year-month-day": ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"),
    "day/month/year": ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y"),
    "month/day/year": ("%m/%d/%Y",),
}
moments = st.datetimes(datetime(1840, 1, 2), datetime(2099, 12, 30)).map(lambda moment: moment.replace(tzinfo=UTC))
zones = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(("form", "day"), [(form, day) for form, days in FORMS.items() for day in days])
@settings(max_examples=10, deadline=None)
@given(st.lists(moments, min_size=1, max_size=9), zones, st.sampled_from([" %H:%M:%S.%f%z", "T%H:%M:%S.%f%z"]))
def test_dates_of_every_form_are_the_moments_that_they_name(form, day, moments, zone, clock):
    moments = [*moments, datetime(2024, 3, 31, tzinfo=UTC)]  # tells days and months apart
    texts = [moment.astimezone(zone).strftime(day + clock) for moment in moments]
    texts[-1] = moments[-1].strftime(day)
    found, nanoseconds = parse_dates(pl.Series(texts))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert found == form
    assert nanoseconds.to_list() == [(moment - epoch) // timedelta(microseconds=1) * 1000 for moment in moments]


@pytest.mark.parametrize(("texts", "form"), [
    (["03/04/2024", "05/06/2024"], None),
    (["03/04/2024", "13/06/2024"], "day/month/year"),
    (["03/04/2024", "06/13/2024"], "month/day/year"),
    (["13/04/2024", "04/13/2024"], None),
    (["2024-01-31", "31/01/2024", "2024-02-01"], "year-month-day"),
    (["2024-01-31", "31/01/2024", "30/01/2024"], "day/month/year"),
    (["soon", "17", None], None),
])  # fmt: skip
def test_the_form_is_that_of_most_dates_or_none(texts, form):
    found, nanoseconds = parse_dates(pl.Series(texts))
    assert found == form and (form or nanoseconds.is_null().all())


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30",
        "2024-01-31 24:00",
        "2024-01-31 10:60",
        "2024-13-01",
        "1/2/24",
        "2024-01",
        "2024-01-31 x",
    ],
)
def test_what_is_no_date_is_null(text):
    _, nanoseconds = parse_dates(pl.Series([text, "2024-01-31"]))
    assert nanoseconds.is_null().to_list() == [True, False]
