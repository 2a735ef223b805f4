import json

import pytest

from gr2.errors import InputError
from gr2.traces.store import COLUMNS, accepted_slates, read_traces
from tests.traces.fake_teacher import interrupt, run


def test_answers_without_token_counts_stay_readable(tables, tmp_path, fake):
    """Kept work of gr2 0.1 may have null for them."""
    partial = interrupt(tables, tmp_path, fake, answers=8)
    partial.write_text(
        partial.read_text()
        .replace('"prompt_tokens": 100', '"prompt_tokens": null')
        .replace('"completion_tokens": 20', '"completion_tokens": null')
    )
    rows = run(tables, tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["completion_tokens"] == 20 * (len(rows) - 8) and summary["prompt_tokens"] == 100 * (len(rows) - 8)
    assert {type(row["completion_tokens"]) for row in rows} == {int}
    old = json.dumps(rows[0] | {"prompt_tokens": None, "accepted": True, "slate_id": "slate1"}) + "\n"
    (tmp_path / "old.jsonl").write_text(old)
    assert accepted_slates([str(tmp_path / "old.jsonl")]) == {"slate1"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("slate_id", 3, "text"),
        ("slate_id", None, "text"),
        ("accepted", "yes", "true or false"),
        ("accepted", 1, "true or false"),
        ("completion_tokens", "many", "a whole number or null"),
        ("completion_tokens", True, "a whole number or null"),
        ("completion_tokens", 2.5, "a whole number or null"),
        ("ranking", "film1", "a list or null"),
        ("ranking", ["film1", None], "a list or null"),
        ("reason", [], "text or null"),
        ("reasoning", {}, "text"),
    ],
)
def test_a_row_of_another_type_is_named(tables, tmp_path, fake, name, value, expected):
    run(tables, tmp_path)
    first, second = (tmp_path / "traces.jsonl").read_text().splitlines()[:2]
    odd = tmp_path / "odd.jsonl"
    odd.write_text(f"{first}\n{json.dumps(json.loads(second) | {name: value})}\n")
    with pytest.raises(InputError, match=rf"odd\.jsonl: row 1, column '{name}': expected {expected}, found "):
        accepted_slates([str(odd)])


def test_a_broken_traces_file_names_its_row(tmp_path):
    row = dict.fromkeys(COLUMNS, "") | {"sample": 0, "messages": [], "ranking": None, "accepted": False}
    row |= {"prompt_tokens": 0, "completion_tokens": 0}
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n{}\n")
    with pytest.raises(InputError, match="row 1, column 'slate_id'"):
        read_traces(tmp_path / "t.jsonl")
