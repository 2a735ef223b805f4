import json

import pytest

from gr2.errors import InputError
from gr2.files.partial import PartialFile

MADE = {"seed": 0, "model": "abc"}
HEAD = json.dumps({"made_of": MADE}) + "\n"
LINES = [json.dumps({"rows": [{"id": number}]}) + "\n" for number in range(3)]


def test_rows_that_were_appended_are_there_in_the_next_run(tmp_path):
    partial = PartialFile(tmp_path / "new" / "a.partial", MADE)
    assert partial.rows == [] and not partial.path.parent.exists()
    partial.append([{"id": 0}, {"id": 1}])
    partial.append([{"id": "ä\u2028"}])
    assert PartialFile(partial.path, MADE).rows == [{"id": 0}, {"id": 1}, {"id": "ä\u2028"}]
    assert len(partial.path.read_text().split("\n")) == 4  # a head, two lines, and the last line's end


def test_a_line_that_was_torn_in_the_middle_of_a_character_is_left_out(tmp_path):
    path = tmp_path / "answers.partial"
    partial = PartialFile(path, MADE)
    partial.append([{"a": 1}, {"a": 2}])
    with open(path, "ab") as torn:
        torn.write('{"rows": [{"a": 3, "text": "schö'.encode()[:-1])
    assert PartialFile(path, MADE).rows == [{"a": 1}, {"a": 2}]
    PartialFile(path, MADE).append([{"a": 4}])
    assert [row["a"] for row in PartialFile(path, MADE).rows] == [1, 2, 4]


@pytest.mark.parametrize("text", ["line\u2028separator", "next\x85line", "tab\x0bfeed\x0c", 'quote\\"\r\n'])
def test_a_row_may_hold_any_text(tmp_path, text):
    PartialFile(tmp_path / "log", MADE).append([{"text": text}, {"text": "next"}])
    assert PartialFile(tmp_path / "log", MADE).rows == [{"text": text}, {"text": "next"}]


@pytest.mark.parametrize(("content", "rows"), [
    (HEAD[:7], []),
    ("\n", []),
    (HEAD[:7] + "\n" + HEAD + LINES[0], [0]),
    (HEAD + LINES[0] + LINES[1][:9], [0]),
    (HEAD + LINES[0][:9] + "\n" + LINES[1], [1]),
    (HEAD + LINES[0] + HEAD + LINES[0] + LINES[2], [0, 0, 2]),
    (HEAD + LINES[0] + '[]\n3\n{}\n\n{"rows": [4]}\n', [0]),
])  # fmt: skip
def test_what_kills_and_two_runs_at_once_leave_is_read_and_gone_on_from(tmp_path, content, rows):
    path = tmp_path / "a.partial"
    path.write_text(content)
    partial = PartialFile(path, MADE)
    assert [row["id"] for row in partial.rows] == rows
    partial.append([{"id": 9}])
    assert [row["id"] for row in PartialFile(path, MADE).rows] == [*rows, 9]


@pytest.mark.parametrize(("content", "complaint"), [
    (LINES[0], "expected a line that says what its rows depend on; delete it"),
    (HEAD.replace("0", "1") + LINES[0], "holds rows of a run with other seed; delete it"),
    (HEAD + HEAD.replace("abc", "abd"), "holds rows of a run with other model;"),
    (HEAD.replace('"seed": 0, ', ""), "holds rows of a run with other seed;"),
    (HEAD.replace('"seed": 0', '"seed": 0, "more": 1'), "holds rows of a run with other more;"),
])  # fmt: skip
def test_rows_of_another_run_are_refused(tmp_path, content, complaint):
    path = tmp_path / "a.partial"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"a\.partial: {complaint}"):
        PartialFile(path, MADE)
    assert path.read_text() == content
