import polars as pl
import pytest

from gr2.errors import InputError
from gr2.evaluation.kinds import find_kind, has_language_model, read_members
from gr2.files.artifacts import write_json

ANSWERS = pl.DataFrame({"slate_id": ["s"], "ranking": [["a"]], "valid": [True]})


@pytest.fixture
def rerankers(tmp_path):
    """Folders of every kind that a fusion may have among its members, and of fusions of them."""

    def folder(name, config=None, kind=None, members=None):
        """members: of a fusion, as `gr2 fit fusion` writes them."""
        fusion = members and {"members": [{"reranker": member} for member in members]}
        record = kind and {"kind": kind}
        for file, content in (("config.json", config), ("reranker.json", record), ("fusion.json", fusion)):
            if content:
                write_json(tmp_path / name / file, content)
        return str(tmp_path / name)

    model = folder("model", {"model_type": "qwen3"})
    sasrec = folder("sasrec", {"model_type": "sasrec"})
    prm = folder("prm", {"model_type": "prm"}, kind="prm")
    one_pass = folder(
        "one_pass", {"model_type": "one_pass", "language_model": {"model_type": "llama"}}, kind="one_pass"
    )
    control = folder("control", {"model_type": "one_pass", "language_model": None}, kind="one_pass")
    small = folder("small", kind="fusion", members=[sasrec, prm, control, "popularity"])
    fused = folder("fused", kind="fusion", members=[prm, model])
    nested = folder("nested", kind="fusion", members=[small, one_pass])
    return {"model": model, "sasrec": sasrec, "prm": prm, "one_pass": one_pass, "control": control, "small": small,
            "fused": fused, "nested": nested, "blend": folder("blend", kind="blend")}  # fmt: skip


def test_a_language_model_is_one_by_itself_inside_a_reranker_or_among_the_members_of_a_fusion(rerankers):
    found = {name for name, folder in rerankers.items() if has_language_model(folder)}
    assert found == {"model", "one_pass", "fused", "nested"}
    assert not has_language_model("popularity") and read_members("popularity") == []
    assert read_members(rerankers["prm"]) == [] and read_members(rerankers["small"])[3] == "popularity"


@pytest.mark.parametrize(("reranker", "kind"), [
    ("model", "language model"), ("one_pass", "language model"), ("fused", "language model"), ("small", "reranker"),
    ("sasrec", "reranker"), ("control", "reranker"), ("blend", "reranker"), ("popularity", "reference"),
])  # fmt: skip
def test_the_kind_of_a_ranking_is_told_by_the_reranker_that_its_manifest_names(tmp_path, rerankers, reranker, kind):
    config = {"reranker": rerankers.get(reranker, reranker)}
    write_json(tmp_path / "ranked/manifest.json", {"stage": "rerank", "config": config, "inputs": {}})
    assert find_kind("mine", str(tmp_path / "ranked/rankings.parquet"), ANSWERS) == kind


def test_a_reranker_that_is_not_there_is_refused_unless_its_answers_tell_what_it_is(tmp_path):
    """Else a one-pass language model could become the best reranker without one."""
    file, gone = str(tmp_path / "ranked/rankings.parquet"), "runs/one_pass"
    write_json(tmp_path / "ranked/manifest.json", {"stage": "rerank", "config": {"reranker": gone}, "inputs": {}})
    with pytest.raises(
        InputError, match=r"rankings\.parquet: expected the folder of its reranker, runs/one_pass, which"
    ):
        find_kind("mine", file, ANSWERS)
    assert find_kind("mine", file, ANSWERS.with_columns(completion_tokens=3)) == "language model"


def test_without_a_manifest_the_name_of_a_rule_and_written_answers_are_known(tmp_path):
    file = str(tmp_path / "rankings.parquet")
    assert find_kind("popularity", file, ANSWERS) == "reference"
    assert find_kind("mine", file, ANSWERS) == "reranker"
    assert find_kind("mine", file, ANSWERS.with_columns(completion_tokens=3)) == "language model"
