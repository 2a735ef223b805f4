"""One type for every column, and one caster: a value stays what it is, or is refused with a sentence."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.files.columns import cast_exactly
from gr2.files.interactions import read_interactions
from gr2.files.schema import NUMBER, NUMBERS, TEXT, TEXTS, TRUTH, WHOLE, WHOLES
from gr2.files.semantic_ids import read_semantic_ids
from tests.files.examples import EVENTS, IDS, ITEMS, RANKINGS, READERS, SIDS, SLATES, write_table

ANYTHING = [
    1,
    1.0,
    1.5,
    -1,
    0,
    2**70,
    float("nan"),
    float("inf"),
    "1",
    "true",
    "",
    "x",
    b"1",
    True,
    None,
    Decimal("1.50"),
    Decimal("1"),
    date(2024, 1, 1),
    [],
    [1],
    ["a"],
    [None],
    [[1]],
    [[["a"]]],
    {"a": 1},
    [{"a": 1}],
    [1.5],
    [b"a"],
]
WANTED = [TEXT, WHOLE, NUMBER, TRUTH, TEXTS, WHOLES, NUMBERS]


def same(value, given):
    """Equal as Python has it; an id that was a number is its digits."""
    if isinstance(value, list):
        return len(value) == len(given) and all(map(same, value, given))
    if isinstance(value, str) and not isinstance(given, str):
        return isinstance(given, int) and not isinstance(given, bool) and value == str(given)
    return value == given or (value != value and given != given)


def series(values):
    try:
        return pl.Series("x", values)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return None  # no file holds these together


@given(st.lists(st.sampled_from(ANYTHING), min_size=1, max_size=3), st.sampled_from(WANTED))
def test_a_value_stays_the_same_or_is_refused(values, wanted):
    column = series(values)
    if column is None or column.dtype == pl.Object:
        return
    try:
        cast = cast_exactly(column, "file.parquet", wanted)
    except InputError as error:
        assert str(error).startswith("file.parquet: ") and "column 'x': expected " in str(error)
        assert len(str(error).splitlines()) == 1
        return
    assert cast.dtype == wanted
    assert same(cast.to_list(), column.to_list())


@given(st.lists(st.one_of(st.integers(-(2**62), 2**62), st.none()), min_size=1), st.booleans())
def test_whole_numbers_pass_alone_and_in_lists(values, listed):
    column = pl.Series("x", [values] if listed else values, dtype=pl.List(pl.Int64) if listed else pl.Int64)
    kind = (lambda inner: pl.List(inner)) if listed else (lambda inner: inner)
    assert cast_exactly(column, "f", kind(WHOLE)).to_list() == column.to_list()
    texts = cast_exactly(column, "f", kind(TEXT)).to_list()
    assert (texts[0] if listed else texts) == [None if value is None else str(value) for value in values]


@given(st.lists(st.floats(), min_size=1))
def test_floats_are_whole_numbers_only_without_a_fraction(values):
    whole = all(abs(value) < 2**62 and value.is_integer() for value in values)
    try:
        assert cast_exactly(pl.Series("x", values), "f", WHOLE).to_list() == values and whole
    except InputError:
        assert not all(abs(value) < 2**62 and value.is_integer() for value in values)


# Of every file every column, with values of every other kind: a sentence, never a traceback, and never another value.
ODD = {
    "list": lambda n: [[1]] * n, "nested list": lambda n: [[["a"]]] * n, "binary": lambda n: [b"a"] * n,
    "struct": lambda n: [{"a": 1}] * n, "list of structs": lambda n: [[{"a": 1}]] * n, "half": lambda n: [0.5] * n,
    "decimal": lambda n: pl.Series([Decimal("1.50")] * n), "date": lambda n: [date(2024, 1, 1)] * n,
    "null": lambda n: [None] * n, "text": lambda n: ["soon"] * n, "huge": lambda n: [1e308] * n,
    "truth": lambda n: [True] * n, "list of binary": lambda n: [[b"a"]] * n,
    "list of null": lambda n: [[None]] * n, "half list": lambda n: [[0.5, 1.5]] * n,
}  # fmt: skip
# Which of these are right after all.
GOOD = {
    "title": ("text",), "description": ("null", "text"), "categories": ("null", "text", "list", "list of null"),
    "user_id": ("text",), "timestamp": ("date", "half", "decimal"), "rating": ("null", "half", "decimal", "huge"),
    "labels": ("half list",), "valid": ("truth",), "reasoning": ("null", "text"), "completion_tokens": ("null",),
    "prompt_tokens": ("null",), "latency_ms": ("null", "half", "huge", "decimal"), "scores": ("half list",),
    "rankings scores": ("null", "list", "list of null"),
}  # fmt: skip
# Of the right type, and not as long as another column wants.
OTHERS = {("candidates", "list"), ("candidates", "list of null"), ("codes", "list")}
FILES = {
    "items": ITEMS,
    "events": EVENTS | {"position": [0, 1, 0], "rating": [1.0, 2.0, 3.0], "split": ["pretrain", "train", "test"]},
    "slates": SLATES,
    "sids": SIDS,
    "rankings": RANKINGS | {"prompt_tokens": [3, 4], "completion_tokens": [1, 2], "latency_ms": [1.0, 2.0],
                            "reasoning": ["", ""], "scores": [[1.0, 2.0]] * 2},
}  # fmt: skip


@pytest.mark.parametrize(("kind", "column"), [(kind, column) for kind in FILES for column in FILES[kind]])
def test_a_column_of_any_other_type_is_refused_with_a_sentence(tmp_path, kind, column):
    read, columns = READERS[kind][0], FILES[kind]
    read(write_table(tmp_path, columns))
    for name, values in ODD.items():
        path = write_table(tmp_path, columns, **{column: values(len(columns[column]))})
        if name in GOOD.get(column, ()) + GOOD.get(f"{kind} {column}", ()):
            read(path)
            continue
        with pytest.raises(InputError) as refusal:
            read(path)
        assert str(refusal.value).startswith(f"{path}: ") and "expected" in str(refusal.value)
        assert f"column '{column}'" in str(refusal.value) or (column, name) in OTHERS
        assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"split": [0, 1, 2]}, "row 0, column 'split': expected one of pretrain, train, valid, test, found 0"),
    ({"split": ["pretrain", "Test", "test"]},
     "row 1, column 'split': expected one of pretrain, train, valid, test, found 'Test'"),
    ({"position": [0.5, 1.0, 2.0]}, "row 0, column 'position': expected a whole number, found 0.5"),
    ({"rating": ["good", "bad", "good"]}, "column 'rating': expected numbers, found String"),
    ({"rating": [1.0, float("inf"), 2.0]}, "row 1, column 'rating': expected a finite number"),
])  # fmt: skip
def test_events_of_prepare_are_what_they_should_be(tmp_path, changed, complaint):
    with pytest.raises(InputError, match=rf"table\.parquet: {complaint}"):
        read_interactions(write_table(tmp_path, FILES["events"], **changed), IDS)


@pytest.mark.parametrize(("changed", "complaint"), [
    ({"sid": [1, 2]}, "row 0, column 'sid': expected the codes of its row as tokens, found '1'"),
    ({"codes": [[0] * 27, [1] * 27]}, "row 0, column 'codes': expected 1 to 26 codes, one a level"),
    ({"codes": [[], []]}, "row 0, column 'codes': expected 1 to 26 codes"),
    ({"codes": [[0, None], [0, 1]]}, "row 0, column 'codes': expected codes of at least 0"),
    ({"codes": [[0, -1], [0, 1]]}, "row 0, column 'codes': expected codes of at least 0"),
    ({"codes": [[0.0, 0.5], [0.0, 1.0]]}, "row 0, column 'codes': expected lists of whole numbers"),
])  # fmt: skip
def test_semantic_ids_are_what_they_should_be(tmp_path, changed, complaint):
    with pytest.raises(InputError, match=rf"table\.parquet: {complaint}"):
        read_semantic_ids(write_table(tmp_path, SIDS, **changed), IDS[:2])


def test_arrays_of_one_length_are_lists(tmp_path):
    codes = pl.Series([[0, 1], [0, 2]], dtype=pl.Array(pl.UInt8, 2))
    ids = read_semantic_ids(write_table(tmp_path, SIDS, codes=codes), IDS[:2])
    assert ids["codes"].to_list() == [[0, 1], [0, 2]] and ids["codes"].dtype == pl.List(pl.Int64)
