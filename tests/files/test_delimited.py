"""CSV as shops export it: rows, their lines, encodings, separators, and lines that are no rows."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.files.delimited import SEPARATORS, read_delimited

QUOTES = "quotes that are closed, and doubled within a field"
cells = st.text(st.sampled_from("ab\",;|\t\n\r 'é😀"), max_size=5)


def read(text, encoding="utf-8", usual=","):
    return read_delimited(text.encode(encoding), "shop.csv", usual)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(cells, cells, cells), min_size=1), st.sampled_from(list(SEPARATORS)))
def test_what_a_csv_writer_wrote_is_read_back_with_the_lines_that_an_editor_shows(rows, separator):
    file = io.StringIO()
    csv.writer(file, delimiter=separator).writerows([("one", "two", "three"), *rows])
    lines = read(file.getvalue())
    same = [tuple(cell.replace("\r\n", "\n").replace("\r", "\n") for cell in row) for row in rows]
    assert lines.frame.fill_null("").rows() == same and not lines.broken
    in_editor = file.getvalue().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, (first, _, _) in zip(lines.numbers, same, strict=True):
        assert in_editor[number - 1].lstrip('"').startswith(first.split("\n")[0].replace('"', '""').lstrip('"'))


@pytest.mark.parametrize(("encoding", "note"), [
    ("utf-8", None), ("utf-8-sig", None), ("utf-16", "read as UTF-16"), ("latin-1", "Windows-1252 (latin-1)"),
    ("cp1252", "Windows-1252 (latin-1)"),
])  # fmt: skip
@pytest.mark.parametrize(("separator", "name"), SEPARATORS.items())
def test_encodings_and_separators_are_recognised_and_named(encoding, note, separator, name):
    lines = read(f"sku{separator}name\n7{separator}Café crème, größer\n", encoding, usual="\t")
    if separator == ",":
        assert lines.broken[0].expected == "2 fields, as in the header"
        return
    assert lines.frame.rows() == [("7", "Café crème, größer")]
    assert (note is None and not lines.guess) or note in lines.notes[0]
    assert (f"fields are separated by {name}" in lines.notes) == (separator != "\t")
    assert bool(lines.guess) == (encoding in ("latin-1", "cp1252")) and (not lines.guess or "'Café'" in lines.guess)


def test_few_bytes_that_are_not_utf8_in_a_file_that_is_are_broken_lines_and_no_other_encoding():
    content = "sku,name\n1,Café\n2,Größe\n".encode() + b"3,Caf\xe9\n4,Tee\n"
    lines = read_delimited(content, "shop.csv", ",")
    assert lines.frame["sku"].to_list() == ["1", "2", "4"] and lines.guess is None
    assert [(row.line, row.expected) for row in lines.broken] == [(4, "UTF-8")]


@pytest.mark.parametrize(("text", "skus", "broken"), [
    ("sku,name\n1,7\" tablet\n2,b\n", ["1", "2"], {}),  # an inch is no quote
    ("sku,name\n1,a\n\n\n2,b\n", ["1", "2"], {}),
    ("sku,name\n1,Lamp, large\n2,b\n", ["2"], {2: "2 fields, as in the header"}),
    ("sku,name\n1\n2,b\n", ["2"], {2: "2 fields, as in the header"}),
    ("sku,name\n1,\"open\n2,b\n3,\"c\"\n4,d\n", ["2", "3", "4"], {2: QUOTES}),
    ("sku,name\n1,\"open\n2,b\n", ["2"], {2: QUOTES}),
    ("sku,name\n1,\"7\" tablet\"\n2,b\n", ["2"], {2: QUOTES}),
    ("sku,name\n1,a\n2,\0b\n3,c\n", ["1", "3"], {3: "text"}),
    ("sku,name\n1,\"two\nlines\"\n2,b,c\n", ["1"], {4: "2 fields, as in the header"}),
])  # fmt: skip
def test_lines_that_are_no_rows_are_told_apart_from_the_rows_around_them(text, skus, broken):
    lines = read(text)
    assert lines.frame["sku"].to_list() == skus
    assert {row.line: row.expected for row in lines.broken} == broken


@pytest.mark.parametrize(("content", "complaint"), [
    (b"", "it is empty"), (b"\n\n", "it is empty"),
    ("a,b\n1,2\n".encode("utf-16-le"), "line 1: expected text in UTF-8 or Windows-1252, .*, found a zero byte"),
    (b"\r\n\r\na,b\x00\r\n", "line 3: expected text in UTF-8 or Windows-1252, .*, found a zero byte"),
    (b"a,b\n\x81\x8d,\x9d\n", "found neither UTF-8 nor Windows-1252"), (b"a,a\n", "column 'a': expected it once"),
])  # fmt: skip
def test_what_is_no_table_is_refused(content, complaint):
    with pytest.raises(InputError, match=f"^shop.csv: .*{complaint}"):
        read_delimited(content, "shop.csv", ",")
