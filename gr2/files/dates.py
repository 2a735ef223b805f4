"""Dates and times as text -> nanoseconds since 1970, in UTC unless a zone is written."""

import polars as pl

YEAR_FIRST, DAY_FIRST, MONTH_FIRST = "year-month-day", "day/month/year", "month/day/year"
TIME = (
    r"(?:[T ]+(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9})\d*)?)?"
    r"\s*(?P<zone>Z|UTC|[+-]\d\d(?::?\d\d)?)?)?$"
)
FORMS = {
    YEAR_FIRST: r"^(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})" + TIME,
    DAY_FIRST: r"^(?P<day>\d{1,2})[-/.](?P<month>\d{1,2})[-/.](?P<year>\d{4})" + TIME,
    MONTH_FIRST: r"^(?P<month>\d{1,2})[-/.](?P<day>\d{1,2})[-/.](?P<year>\d{4})" + TIME,
}
NANOSECONDS = 10**9  # in a second
LONGEST = 9_000_000_000  # seconds; the nanoseconds of more do not fit into int64


def parse_dates(texts: pl.Series) -> tuple[str | None, pl.Series]:
    """The form of most dates, and int64 nanoseconds, null for texts of another form. Without a form: all are null.

    Days and months are told apart by a day after the 12th: where some dates can only begin with the day and others only
    with the month, or none shows it, there is no form.
    """
    parsed = {form: parse_form(texts, form) for form in FORMS}
    days, months = (parsed[form].is_not_null() for form in (DAY_FIRST, MONTH_FIRST))
    years = int(parsed[YEAR_FIRST].is_not_null().sum())
    if years >= int((days | months).sum()):
        form = YEAR_FIRST if years else None
    else:
        only_days, only_months = bool((days & ~months).any()), bool((months & ~days).any())
        form = {(True, False): DAY_FIRST, (False, True): MONTH_FIRST}.get((only_days, only_months))
    return form, parsed[form] if form else pl.Series(texts.name, [None] * len(texts), dtype=pl.Int64)


def parse_form(texts: pl.Series, form: str) -> pl.Series:
    """int64 nanoseconds of the dates of one form, null for other texts."""
    part = texts.str.strip_chars().str.extract_groups(FORMS[form]).struct.unnest()
    two = [pl.col(name).str.zfill(2) for name in ("month", "day")]
    day = pl.concat_str("year", *two).str.to_date("%Y%m%d", strict=False)
    hour, minute, second = (pl.col(name).fill_null("0").cast(pl.Int64) for name in ("hour", "minute", "second"))
    clock = pl.when((hour < 24) & (minute < 60) & (second < 61)).then(3600 * hour + 60 * minute + second)
    zone = pl.col("zone").str.replace("Z|UTC", "+0000").str.replace(":", "").fill_null("+0000").str.pad_end(5, "0")
    ahead = 3600 * zone.str.slice(1, 2).cast(pl.Int64) + 60 * zone.str.slice(3, 2).cast(pl.Int64)
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    seconds = day.dt.epoch("d").cast(pl.Int64) * 86_400 + clock - sign * ahead
    fraction = pl.col("fraction").fill_null("0").str.pad_end(9, "0").cast(pl.Int64)
    seconds = seconds.clip(-LONGEST, LONGEST)
    return part.select((seconds * NANOSECONDS + fraction).alias(texts.name)).to_series()
