import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gr2 import metrics
from gr2.arrays import pad
from gr2.errors import InputError
from gr2.files.artifacts import read_json, write_json
from gr2.rerankers.record import RECORD
from gr2.runner.stage import run_stage
from gr2.stages import rerank, slates
from tests.helpers import fit

MEMBERS = ("blend", "lambdamart", "popularity")


@pytest.fixture(scope="module")
def known(world, tmp_path_factory) -> dict[str, str]:
    """Slates of all films, so that every position has one: 80 train, 40 valid, 160 test."""
    folder = tmp_path_factory.mktemp("slates")
    slates.run(
        slates.Config(
            items=world.items,
            interactions=world.interactions,
            output_dir=str(folder),
            pre_ranker=["popularity"],
            exclude_seen=False,
            candidates=48,
        )
    )
    return {
        "items": world.items,
        "slates": str(folder / "slates.parquet"),
        "semantic_ids": world.semantic_ids,
        "interactions": world.interactions,
        "embeddings": world.embeddings,
    }


def answered(reranker: str, folder, known, **options) -> pl.DataFrame:
    names = rerank.Config.__dataclass_fields__
    given = {name: value for name, value in (known | options).items() if name in names}
    rerank.run(rerank.Config(reranker=str(reranker), output_dir=str(folder), **given))
    return pl.read_parquet(folder / "rankings.parquet")


@pytest.fixture(scope="module")
def root(known, tmp_path_factory):
    """Two fitted members, and the rankings of them and of a rule, by split."""
    root = tmp_path_factory.mktemp("members")
    for kind in MEMBERS[:2]:
        fit(kind, root / kind, known)
    for split in ("valid", "test"):
        for name in MEMBERS:
            answered(folder_of(root, name), root / split / name, known, split=split)
    return root


def folder_of(root, name: str) -> str:
    return name if name == "popularity" else str(root / name)


def members(root) -> list[str]:
    return [folder_of(root, name) for name in MEMBERS]


def files(root, split: str, names=MEMBERS) -> list[str]:
    return [str(root / split / name / "rankings.parquet") for name in names]


@pytest.fixture(scope="module")
def fusion(root, known, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("fitted") / "fusion"
    fit("fusion", folder, known, members=members(root))
    return str(folder)


def ndcg(known, rankings: pl.DataFrame) -> float:
    joined = pl.read_parquet(known["slates"]).join(rankings, on="slate_id")
    rows = joined.select("candidates", "labels", "ranking").rows()
    ranked = [[labels[candidates.index(item)] for item in ranking] for candidates, labels, ranking in rows]
    return metrics.ndcg(pad(ranked, np.nan), 5).mean()


def test_it_is_no_worse_than_its_best_member_and_says_how_it_was_chosen(known, root, fusion, tmp_path):
    alone = {name: ndcg(known, pl.read_parquet(root / "test" / name / "rankings.parquet")) for name in MEMBERS}
    assert ndcg(known, answered(fusion, tmp_path, known)) > max(alone.values()) - 0.02
    report = read_json(f"{fusion}/fusion.json")
    assert [member["reranker"] for member in report["members"]] == members(root)
    by_valid = {name: member["ndcg@5"] for name, member in zip(MEMBERS, report["members"], strict=True)}
    for name, value in by_valid.items():
        own = ndcg(known, pl.read_parquet(root / "valid" / name / "rankings.parquet"))
        assert value == pytest.approx(own, abs=1e-6)
    assert report["ways"][0]["ndcg@5"] == max(by_valid.values()) and report["ways"][0]["kind"] == "member"
    assert report["chosen"] in report["ways"] and report["slates"] >= report["users"] > 20
    assert read_json(f"{fusion}/{RECORD}") == {"kind": "fusion", "scores": True}


def test_files_of_its_members_answers_stand_for_the_members(known, root, fusion, tmp_path):
    fit("fusion", tmp_path / "by_files", known, members=members(root), member_rankings=files(root, "valid"))
    assert (tmp_path / "by_files/fusion.json").read_bytes() == Path(f"{fusion}/fusion.json").read_bytes()
    asked = answered(fusion, tmp_path / "asked", known)
    read = answered(fusion, tmp_path / "read", known, member_rankings=files(root, "test"))
    assert asked.equals(read)
    times = [json.loads((root / "test" / name / "timing.json").read_text())["ms_a_slate"] for name in MEMBERS]
    spent = json.loads((tmp_path / "read/timing.json").read_text())["ms_a_slate"]
    assert sum(times) < spent < sum(times) + 50


@pytest.mark.parametrize("kind", ["weights", "trees"])
def test_either_kind_of_model_is_written_and_opened(known, root, tmp_path, monkeypatch, kind):
    """Whichever is best here: the choice is another test's."""
    from gr2.rerankers.fusion import train

    def list_some(*given) -> list:
        return [way for way in every(*given) if way.kind == kind and "followed" in way.reads]

    every = train.list_ways
    monkeypatch.setattr(train, "list_ways", list_some)
    fit("fusion", tmp_path / "fusion", known, members=members(root), member_rankings=files(root, "valid"))
    report = read_json(tmp_path / "fusion/fusion.json")
    assert (tmp_path / "fusion/trees.txt").exists() == ("gains" in report) == (kind == "trees")
    assert set(report["gains" if kind == "trees" else "weights"]) == set(report["chosen"]["reads"])
    given = answered("input_order", tmp_path / "given", known)
    assert ndcg(known, answered(str(tmp_path / "fusion"), tmp_path / "out", known)) > ndcg(known, given) + 0.1
    with pytest.raises(InputError, match="expected --interactions and --embeddings"):
        answered(str(tmp_path / "fusion"), tmp_path / "no", {**known, "interactions": None, "embeddings": None})


def test_tokens_and_time_are_those_of_all_members(known, root, fusion, tmp_path):
    """As rankings of language models have them."""
    for split, name, tokens in (("test", "blend", 7), ("test", "popularity", 30)):
        frame = pl.read_parquet(root / split / name / "rankings.parquet")
        counted = frame.with_columns(prompt_tokens=100, completion_tokens=tokens, latency_ms=5.0)
        (tmp_path / name).mkdir()
        counted.write_parquet(tmp_path / name / "rankings.parquet")
    of_blend, of_popularity = (str(tmp_path / name / "rankings.parquet") for name in ("blend", "popularity"))
    given = [of_blend, files(root, "test")[1], of_popularity]
    found = answered(fusion, tmp_path / "out", known, member_rankings=given)
    assert set(found["prompt_tokens"]) == {200} and set(found["completion_tokens"]) == {37}
    assert found["latency_ms"].min() > 10


def test_files_of_other_rerankers_splits_or_numbers_are_refused(known, root, fusion, tmp_path):
    def fitted(given: list[str]) -> None:
        fit("fusion", tmp_path / "no", known, members=members(root), member_rankings=given)

    with pytest.raises(InputError, match="expected 3 files, one for each member; found 2"):
        fitted(files(root, "valid", MEMBERS[:2]))
    with pytest.raises(InputError, match=r"column 'slate_id': expected a row for every slate; .*of the split"):
        fitted(files(root, "test"))
    with pytest.raises(InputError, match=r"expected 3 files, of .*lambdamart, popularity, in this order; found 1"):
        answered(fusion, tmp_path / "no", known, member_rankings=files(root, "test", MEMBERS[:1]))
    with pytest.raises(InputError, match="--member_rankings: expected --reranker of `gr2 fit fusion`, found random"):
        answered("random", tmp_path / "no", known, member_rankings=files(root, "test"))
    swapped = [recorded(root / "blend", tmp_path / "blend", known, "valid"), *files(root, "valid")[1:]]
    fitted(swapped)
    with pytest.raises(InputError, match=r"expected rankings of .*lambdamart, found those of .*blend"):
        fitted([swapped[0], swapped[0], swapped[2]])


def recorded(reranker, folder, known, split: str) -> str:
    """Rankings with a manifest."""
    words = ["--reranker", reranker, "--output_dir", folder, "--split", split, "--alone", "0"]
    words += [word for name in known if name != "semantic_ids" for word in (f"--{name}", known[name])]
    run_stage("rerank", [*map(str, words)])
    return str(folder / "rankings.parquet")


def test_a_member_that_gave_scores_must_give_them_again(known, root, fusion, tmp_path):
    report = read_json(f"{fusion}/fusion.json")
    assert [member["scored"] for member in report["members"]] == [True, True, True]
    frame = pl.read_parquet(files(root, "test")[0]).drop("scores")
    shutil.copytree(root / "test/blend", tmp_path / "blend")
    frame.write_parquet(tmp_path / "blend/rankings.parquet")
    given = [str(tmp_path / "blend/rankings.parquet"), *files(root, "test")[1:]]
    with pytest.raises(InputError, match=r"blend: slate_id '.*': expected scores, .*--order first.*, found none"):
        answered(fusion, tmp_path / "no", known, member_rankings=given)


def test_a_changed_member_is_refused(known, root, tmp_path):
    """Asked, or by its rankings; the rankings that it gave before are still those of the fusion's member."""
    shutil.copytree(root / "blend", tmp_path / "blend")
    fit("fusion", tmp_path / "fusion", known, members=[str(tmp_path / "blend"), "popularity"])
    popular = files(root, "test")[2]
    before = recorded(tmp_path / "blend", tmp_path / "before", known, "test")
    model = read_json(tmp_path / "blend/blend.json")
    write_json(tmp_path / "blend/blend.json", {**model, "scale": [2 * value for value in model["scale"]]})
    with pytest.raises(InputError, match=r"its member .*blend is not what it was; run `gr2 fit fusion` again"):
        answered(str(tmp_path / "fusion"), tmp_path / "no", known)
    after = recorded(tmp_path / "blend", tmp_path / "after", known, "test")
    with pytest.raises(InputError, match=r"expected rankings of .*blend, found those of another model in the same fol"):
        answered(str(tmp_path / "fusion"), tmp_path / "no", known, member_rankings=[after, popular])
    answered(str(tmp_path / "fusion"), tmp_path / "yes", known, member_rankings=[before, popular])


def test_members_that_know_the_valid_split_are_refused(known, root, fusion, tmp_path):
    with pytest.raises(InputError, match="expected its members in its place; a fusion has learned the valid split"):
        fit("fusion", tmp_path / "no", known, members=[fusion, "popularity"])
    with pytest.raises(InputError, match="--members nowhere: expected a reranker's folder, or one of input_order"):
        fit("fusion", tmp_path / "no", known, members=["nowhere", "popularity"])
    taught, teacher = tmp_path / "taught", tmp_path / "teacher"
    shutil.copytree(root / "blend", taught)
    write_manifest(teacher, "rerank", split="test")
    write_manifest(taught, "fit prm", teacher / "rankings.parquet")
    with pytest.raises(InputError, match=r"it learned from .*teacher, made of split test; expected"):
        fit("fusion", tmp_path / "no", known, members=[str(taught), "popularity"])


def test_a_student_of_a_fusion_is_refused(known, root, tmp_path):
    """It learned from train slates only, but from what the valid split taught; however many stages lie between."""
    student = tmp_path / "student"
    shutil.copytree(root / "blend", student)
    write_manifest(tmp_path / "fusion", "fit fusion")
    write_manifest(tmp_path / "teacher", "rerank", tmp_path / "fusion/fusion.json", split="train")
    write_manifest(student, "fit prm", tmp_path / "teacher/rankings.parquet")
    with pytest.raises(InputError, match=r"it learned from .*fusion, a fusion, which has learned the valid split; exp"):
        fit("fusion", tmp_path / "no", known, members=[str(student), "popularity"])
    write_manifest(tmp_path / "tuned", "sft", tmp_path / "teacher/rankings.parquet")
    write_manifest(student, "fit one_pass", tmp_path / "tuned/model/config.json")
    with pytest.raises(InputError, match="a fusion, which has learned the valid split"):
        fit("fusion", tmp_path / "no", known, members=[str(student), "popularity"])
    write_manifest(tmp_path / "teacher", "rerank", split="train")
    fit("fusion", tmp_path / "yes", known, members=[str(student), "popularity"])


def write_manifest(folder, stage: str, *inputs, **config) -> None:
    """What refusals read of one."""
    made = {"stage": stage, "config": config, "inputs": dict.fromkeys(map(str, inputs), "0"), "outputs": {}}
    write_json(folder / "manifest.json", made)


def test_one_member_or_one_twice_is_refused(known):
    for given in (["popularity"], ["popularity", "popularity"]):
        with pytest.raises(InputError, match="--members: expected two or more rerankers, each once"):
            fit("fusion", "no", known, members=given)


def test_a_member_that_was_fitted_on_scores_is_not_asked_without(known, root, tmp_path):
    bare = tmp_path / "slates.parquet"
    pl.read_parquet(known["slates"]).drop("scores").write_parquet(bare)
    with pytest.raises(InputError, match=r"blend: expected the pre-ranker's score of each candidate .* has none"):
        fit("fusion", tmp_path / "out", known | {"slates": str(bare)}, members=members(root))
    assert not (tmp_path / "out").exists()


def test_slates_without_a_valid_split_are_refused(known, tmp_path):
    pl.read_parquet(known["slates"]).filter(pl.col("split") != "valid").write_parquet(tmp_path / "slates.parquet")
    without = known | {"slates": str(tmp_path / "slates.parquet")}
    with pytest.raises(InputError, match="expected labelled slates of split valid by two users or more"):
        fit("fusion", tmp_path / "no", without, members=["rarest", "popularity"])


def test_a_file_that_it_did_not_write_is_refused(known, tmp_path):
    write_json(tmp_path / "fusion.json", {"members": []})
    write_json(tmp_path / RECORD, {"kind": "fusion"})
    with pytest.raises(InputError, match=r"trees.txt: expected a model of LightGBM"):
        answered(str(tmp_path), tmp_path / "no", known)
    write_json(tmp_path / "fusion.json", {"members": [{}], "weights": {}})
    with pytest.raises(
        InputError, match="expected members, how they were asked, and weights or gains; run `gr2 fit fusion` again"
    ):
        answered(str(tmp_path), tmp_path / "no", known)
