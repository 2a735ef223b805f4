import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.browse.collect import collect, draw
from gr2.browse.command import main
from gr2.browse.find import find_files
from gr2.browse.page import pack
from gr2.errors import InputError
from tests.browse.conftest import SLATES, write_ranking


def test_systems_have_the_evaluations_names_and_others_those_of_their_folders(run):
    """The run was moved: the manifest's paths are those of its old place."""
    files = find_files(run, "test", [])
    assert list(files.rankings) == ["fine <b>", "bad", "broken", "part"]
    assert files.slates == run / "slates/slates.parquet" and files.items == run / "prepare/items.parquet"
    assert files.semantic_ids == run / "sids/semantic_ids.parquet"
    assert list(find_files(run, "train", []).rankings) == ["bad", "broken", "part", "teacher"]


def test_content_is_that_of_the_files(run):
    content = collect(find_files(run, "test", []), "test", 10_000)
    slates, items = content["slates"], content["items"]
    assert len(slates["id"]) == SLATES and slates["user"][0] == "<i>first</i>" and content["notes"] == []
    assert [items["id"][item] for item in slates["candidates"][7]] == ["i7", "i8", "i9", "i10", "i11", "i12"]
    assert items["sid"][items["id"].index("i7")].count("_7>") == 2
    assert slates["factNames"] == ["rank", "popularity", "words_last"] and slates["facts"][7].split(";")[2] == "3 2 9"
    good, bad, broken, part = content["systems"]
    assert good["order"][7] == [0, 2, 1, 3, 4, 5] and bad["order"][7] == [0, 1, 3, 4, 5, 2]
    assert bad["score"][7] == "5 4 3 2 1 nan"
    assert broken["valid"][:2] == [True, False] and broken["reason"][1] == "truncated"
    assert part["order"][0] == [0, 1, 2, 3, 4, 5] and part["order"][1] is None


def test_traces_are_those_of_the_split(run):
    content = collect(find_files(run, "train", []), "train", 10_000)
    assert [system["name"] for system in content["systems"]] == ["teacher"]  # others rank no train slate
    rejected, accepted = content["traces"][1]
    assert rejected["order"] == [5, 4, 3, 2, 1, 0] and rejected["reason"] == "copied_prompt"
    assert accepted["order"] is None and accepted["stage"] == "traces" and content["traces"][0] == []
    assert not any(collect(find_files(run, "test", []), "test", 10_000)["traces"])


def test_a_large_run_is_drawn_from_and_says_so(run):
    files = find_files(run, "train", [])
    content = collect(files, "train", 2)
    assert "t1" in content["slates"]["id"] and len(content["slates"]["id"]) == 2  # it has a teacher's trace
    assert content["notes"] == ["2 of 4 train slates: first the 1 that a teacher explained, then others at random "
                                "(--max_slates)."]  # fmt: skip


@given(st.integers(1, 30), st.integers(1, 40), st.sets(st.integers(0, 29)))
@settings(max_examples=40)
def test_a_draw_keeps_file_order_and_takes_the_explained_first(count, most, explained):
    table = pl.DataFrame({"slate_id": [str(row) for row in range(count)]})
    first = {str(row) for row in explained if row < count}
    rows = [int(slate_id) for slate_id in draw(table, most, first)["slate_id"]]
    assert rows == sorted(rows) and len(rows) == min(count, most)
    assert len(first & set(map(str, rows))) == min(len(first), len(rows))


def test_same_files_same_bytes(run):
    files = find_files(run, "test", [])
    assert pack(collect(files, "test", 100)) == pack(collect(files, "test", 100))


def test_rankings_can_be_given(run, tmp_path):
    files = find_files(run, "test", [f"a={run}/rerank_good/rankings.parquet", f"b={run}/rerank_bad/rankings.parquet"])
    assert [system["name"] for system in collect(files, "test", 5)["systems"]] == ["a", "b"]


def test_a_run_without_items_evaluation_or_manifests(tmp_path):
    rows = [
        {"slate_id": "s", "user_id": "u", "history": ["x"], "candidates": ["a", "b"], "labels": [], "split": "test"}
    ]
    (tmp_path / "mine").mkdir()
    pl.DataFrame(rows, schema_overrides={"labels": pl.List(pl.Float64)}).write_parquet(tmp_path / "mine/slates.parquet")
    write_ranking(tmp_path / "rerank_input_order", rows, [1, 0])
    content = collect(find_files(tmp_path, "test", []), "test", 5)
    assert content["items"] == {"id": ["x", "a", "b"], "title": [""] * 3, "categories": [[]] * 3, "sid": [""] * 3}
    assert [system["name"] for system in content["systems"]] == ["rerank_input_order"]  # the other name is taken
    assert content["slates"]["labels"] == [[]] and content["slates"]["scores"] == [""]


@pytest.mark.parametrize(("words", "complaint"), [
    (["nowhere"], "nowhere: expected a run's folder"),
    (["empty"], "empty: expected a folder in it with a slates.parquet"),
    (["RUN", "--split", "valid"], "expected slates of 'valid', found none"),
    (["RUN", "--max_slates", "0"], "--max_slates 0: expected a number of at least 1"),
    (["RUN", "--rankings", "a.parquet"], "--rankings a.parquet: expected NAME=FILE"),
    (["RUN", "--rankings", "a=x", "a=y"], "the name 'a' is given twice"),
    (["RUN", "--rankings", "oracle=x"], "'oracle' is always computed"),
    (["RUN", "--rankings", "a=absent.parquet"], "absent.parquet: no such file"),
])  # fmt: skip
def test_what_cannot_be_shown_is_refused_in_a_sentence(run, tmp_path, monkeypatch, words, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=complaint):
        main([str(run) if word == "RUN" else word for word in words] + ["--output", "page.html"])
    assert not (tmp_path / "page.html").exists()


def test_a_ranking_of_other_items_is_refused(run, tmp_path):
    slates = [{"slate_id": "s1", "candidates": ["x", "y"]}]
    write_ranking(tmp_path / "other", slates, [0, 1])
    files = find_files(run, "test", [f"other={tmp_path}/other/rankings.parquet"])
    with pytest.raises(InputError, match="row 0, column 'ranking': expected a permutation of the slate's candidates"):
        collect(files, "test", 500)


def test_a_broken_trace_is_refused_with_its_row(run, tmp_path):
    files = find_files(run, "train", [])
    (tmp_path / "traces.jsonl").write_text(json.dumps({"slate_id": "t1"}) + "\n")
    broken = type(files)(**vars(files) | {"traces": {"traces": tmp_path / "traces.jsonl"}})
    with pytest.raises(InputError, match="row 0, column 'mode': expected a value, found none"):
        collect(broken, "train", 5)
