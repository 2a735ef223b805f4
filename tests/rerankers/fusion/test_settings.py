"""Fusions with a language model: it is asked as it was when the fusion was fitted, and its unusable answers count."""

import json
import shutil

import polars as pl
import pytest

from gr2.errors import InputError
from gr2.files.artifacts import read_json, write_json
from gr2.rerankers.open import open_reranker
from gr2.rerankers.protocol import Inputs
from gr2.runner.stage import run_stage
from gr2.serving.command import parser, read_sampling
from tests.helpers import fit, refused

HOW = {"prompt": "student_no_trace", "order": "choices", "max_prompt_tokens": 250}  # with the answer in 512


@pytest.fixture(scope="module")
def known(world) -> dict[str, str]:
    names = ("items", "slates", "semantic_ids", "interactions", "embeddings")
    return {name: getattr(world, name) for name in names}


def words(known, folder, reranker, **options) -> list[str]:
    given = known | {"alone": 0, "output_dir": folder, "reranker": reranker} | options
    return [str(word) for name, value in given.items() for word in (f"--{name}", value)]


def ranked(known, folder, reranker, **options) -> pl.DataFrame:
    run_stage("rerank", words(known, folder, reranker, **options))
    return pl.read_parquet(folder / "rankings.parquet")


@pytest.fixture(scope="module")
def members(beginner) -> list[str]:
    return [str(beginner), "popularity"]


@pytest.fixture(scope="module")
def fusion(known, members, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("fitted") / "fusion"
    fit("fusion", folder, known, members=members, **HOW)
    return str(folder)


def test_a_fusion_remembers_how_its_language_model_was_asked_and_is_asked_no_other_way(known, fusion, tmp_path):
    model, rule = read_json(f"{fusion}/fusion.json")["members"]
    assert rule["settings"] is None and model["unusable"] == rule["unusable"] == 0
    assert {name: model["settings"][name] for name in HOW} == HOW
    error = refused("rerank", *words(known, tmp_path / "no", fusion))
    expected = "expected --prompt student_no_trace and --order choices and --max_prompt_tokens 250, with which"
    assert f"{fusion}: {expected}" in error
    assert error.endswith("found --prompt student and --order written and no --max_prompt_tokens")
    for changed, complaint in (
        ({"order": "first"}, r"expected --order choices, with which .*beginner was asked .*; found --order first"),
        ({"prompt": "student"}, r"expected --prompt student_no_trace, .*; found --prompt student"),
        ({"max_prompt_tokens": 300}, r"expected --max_prompt_tokens 250, .*; found --max_prompt_tokens 300"),
        ({"temperature": 1}, r"expected --temperature 0.0, .*; found --temperature 1.0"),
    ):
        with pytest.raises(InputError, match=complaint):
            run_stage("rerank", words(known, tmp_path / "no", fusion, **HOW | changed))
    assert not (tmp_path / "no").exists()
    assert ranked(known, tmp_path / "yes", fusion, **HOW)["valid"].all()


def test_a_prompt_that_changed_is_another_prompt(known, members, tmp_path):
    prompt = tmp_path / "mine.yaml"
    shutil.copy("prompts/student_no_trace.yaml", prompt)
    fit("fusion", tmp_path / "fusion", known, members=members, **HOW | {"prompt": str(prompt)})
    ranked(known, tmp_path / "same", tmp_path / "fusion", **HOW)  # the same text under another name
    prompt.write_text(prompt.read_text() + "# changed\n")
    with pytest.raises(
        InputError, match=r"the prompt .*mine.yaml is not what .*beginner was asked with .*`gr2 fit fus"
    ):
        run_stage("rerank", words(known, tmp_path / "no", tmp_path / "fusion", **HOW | {"prompt": str(prompt)}))


def test_a_server_refuses_to_ask_otherwise(known, fusion):
    inputs = Inputs(*(known[name] for name in ("items", "interactions", "embeddings", "semantic_ids")))
    given = [fusion, "--items", known["items"], "--prompt", "student_no_trace", "--max_prompt_tokens", "250"]
    with pytest.raises(InputError, match="expected --order choices"):
        open_reranker(fusion, inputs, read_sampling(parser().parse_args(given)))
    open_reranker(fusion, inputs, read_sampling(parser().parse_args([*given, "--order", "choices"])))


def test_files_of_a_language_models_answers_say_how_it_was_asked(known, fusion, members, tmp_path):
    files = {}
    for split in ("valid", "test"):
        for member in members:
            folder = tmp_path / split / member.rpartition("/")[2]
            ranked(known, folder, member, split=split, **HOW)
            files.setdefault(split, []).append(str(folder / "rankings.parquet"))
    fit("fusion", tmp_path / "by_files", known, members=members, member_rankings=files["valid"])  # by other defaults
    assert read_json(tmp_path / "by_files/fusion.json") == read_json(f"{fusion}/fusion.json")
    asked = ranked(known, tmp_path / "asked", fusion, **HOW)
    run_stage("rerank", [*words(known, tmp_path / "read", fusion), "--member_rankings", *files["test"]])
    assert pl.read_parquet(tmp_path / "read/rankings.parquet")["ranking"].equals(asked["ranking"])
    ranked(known, tmp_path / "first", members[0], **HOW | {"order": "first"})
    (tmp_path / "bare").mkdir()
    bare = shutil.copy(files["test"][0], tmp_path / "bare")
    for file, complaint in (
        (
            tmp_path / "first/rankings.parquet",
            r"first/rankings.parquet: expected --order choices, .*found --order first",
        ),
        (bare, "bare/rankings.parquet: expected the manifest of `gr2 rerank` beside it, .*; found none"),
    ):
        read = ["--member_rankings", str(file), files["test"][1]]
        with pytest.raises(InputError, match=complaint):
            run_stage("rerank", [*words(known, tmp_path / "no", fusion), *read])


def test_unusable_answers_of_members_are_counted_by_member_and_kept(known, members, tmp_path, capsys):
    """The beginner writes no list."""
    how = HOW | {"order": "written"}
    fit("fusion", tmp_path / "fusion", known, members=members, **how)
    model, rule = read_json(tmp_path / "fusion/fusion.json")["members"]
    valid = (pl.read_parquet(known["slates"])["split"] == "valid").sum()
    assert model["unusable"] > valid / 2 and rule["unusable"] == 0
    assert f"beginner: NDCG@5 {model['ndcg@5']:.3f}, {model['unusable']} unusable answers\n" in capsys.readouterr().out
    found = ranked(known, tmp_path / "ranked", tmp_path / "fusion", max_tokens=94, **how)
    assert found["valid"].all() and found["reason"].str.starts_with("member0 beginner: ").all()  # its own is usable
    printed = capsys.readouterr().out
    assert f"{len(found)} slates, 0 unusable answers\n" in printed
    assert f"\n{len(found)} unusable answers of members (member0 beginner: " in printed


def test_a_fusion_of_an_earlier_version_is_refused(known, fusion, tmp_path):
    shutil.copytree(fusion, tmp_path / "fusion")
    report = json.loads((tmp_path / "fusion/fusion.json").read_text())
    for member in report["members"]:
        del member["settings"]
    write_json(tmp_path / "fusion/fusion.json", report)
    (tmp_path / "fusion/manifest.json").unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"expected members, how they were asked, .*; run `gr2 fit fusion` again"):
        run_stage("rerank", words(known, tmp_path / "no", tmp_path / "fusion", **HOW))
