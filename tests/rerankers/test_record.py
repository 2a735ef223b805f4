import shutil

import numpy as np
import polars as pl
import pytest

from gr2.errors import InputError
from gr2.files.artifacts import read_json, write_json
from gr2.files.semantic_ids import write_semantic_ids
from gr2.rerankers.prm.network import PRM, PRMConfig
from gr2.rerankers.record import version_of
from gr2.runner.stage import run_stage
from gr2.stages import rerank
from tests.helpers import fit, refused

RECORD = "reranker.json"
SMALL = {"list_size": 2, "hidden_size": 8, "epochs": 1}


@pytest.fixture(scope="module")
def known(world, later) -> dict[str, str]:
    return {
        "items": world.items,
        "slates": later,
        "semantic_ids": world.semantic_ids,
        "interactions": world.interactions,
        "embeddings": world.embeddings,
    }


def fitted(folder, known, kind: str, **options) -> str:
    fit(kind, folder, known, **options)
    return str(folder)


@pytest.fixture(scope="module")
def folders(known, tmp_path_factory) -> dict[str, str]:
    """One of every kind that others go on from, and the two that are not networks."""
    root = tmp_path_factory.mktemp("fitted")
    made = {kind: fitted(root / kind, known, kind=kind) for kind in ("blend", "lambdamart")}
    made["prm"] = fitted(root / "prm", known, kind="prm", hidden_size=8, epochs=1)
    made |= {kind: fitted(root / kind, known, kind=kind, **SMALL) for kind in ("glorank", "evaluator")}
    made["place"] = fitted(root / "place", known, kind="glorank", space="place", **SMALL)
    return made


def ranked(folder, reranker: str, known, **changed) -> pl.DataFrame:
    rerank.run(rerank.Config(output_dir=str(folder), reranker=reranker, **known | changed))
    return pl.read_parquet(folder / "rankings.parquet")


@pytest.fixture(scope="module")
def permuted(world, tmp_path_factory) -> str:
    """The items' semantic IDs, given to other items."""
    ids = pl.read_parquet(world.semantic_ids)
    folder = tmp_path_factory.mktemp("permuted")
    write_semantic_ids(folder / "semantic_ids.parquet", ids["item_id"], np.array(ids["codes"].reverse().to_list()), {})
    return str(folder / "semantic_ids.parquet")


def test_the_record_names_the_kind_and_what_lists_were_learned_on(folders):
    for name, folder in folders.items():
        kind = "glorank" if name == "place" else name
        record = read_json(f"{folder}/{RECORD}")
        assert record["kind"] == kind and ("semantic_ids" in record) == (kind in ("glorank", "evaluator"))


def test_a_folder_with_the_files_of_two_kinds_is_refused(folders, known, tmp_path):
    shutil.copytree(folders["lambdamart"], tmp_path / "two")
    shutil.copy(f"{folders['blend']}/blend.json", tmp_path / "two")
    with pytest.raises(InputError, match=r"two: it holds the files of two rerankers \(blend.json, model.txt\)"):
        ranked(tmp_path / "out", str(tmp_path / "two"), known)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("kind", "model_type"), [("prm", "llama"), ("prm", "list_writer"), ("blend", "prm")])
def test_a_model_of_another_kind_than_the_record_names_is_refused(known, tmp_path, kind, model_type):
    write_json(tmp_path / RECORD, {"kind": kind})
    write_json(tmp_path / "config.json", {"model_type": model_type})
    with pytest.raises(InputError, match=f"reranker.json says {kind}, but config.json is another model's"):
        ranked(tmp_path / "out", str(tmp_path), known)


def test_a_model_without_its_record_is_refused(folders, known, tmp_path):
    shutil.copy(f"{folders['blend']}/blend.json", tmp_path)
    with pytest.raises(InputError, match=r"reranker.json is missing; run `gr2 fit` again"):
        ranked(tmp_path / "out", str(tmp_path), known)


def test_an_evaluator_is_no_reranker(folders, known, tmp_path):
    with pytest.raises(InputError, match="an evaluator ranks nothing"):
        ranked(tmp_path / "out", folders["evaluator"], known)


def test_lists_are_refused_under_other_semantic_ids(folders, known, permuted, tmp_path):
    assert ranked(tmp_path / "own", folders["glorank"], known)["valid"].all()
    refusal = "it was fitted on other items or semantic IDs than the ones given"
    with pytest.raises(InputError, match=refusal):
        ranked(tmp_path / "out", folders["glorank"], known, semantic_ids=permuted)
    other = known | {"semantic_ids": permuted}
    with pytest.raises(InputError, match=refusal):
        fitted(tmp_path / "out", other, kind="glorank", model_name_or_path=folders["glorank"])
    with pytest.raises(InputError, match=refusal):
        fitted(tmp_path / "out", other, kind="degre", evaluator=folders["evaluator"], **SMALL)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("option", "asked", "had"), [
    ("list_size", 4, 2), ("space", "pointer", "global"), ("history", 1, 6), ("dropout", 0.5, 0.2), ("layers", 3, 1),
    ("hidden_size", 64, 8),
])  # fmt: skip
def test_reinforcement_refuses_another_shape_than_the_folders(folders, known, tmp_path, option, asked, had):
    with pytest.raises(InputError, match=f"--{option} {asked}: expected {had}, as .*glorank has it"):
        fitted(tmp_path / "out", known, kind="glorank", model_name_or_path=folders["glorank"], **{option: asked})


def test_what_reinforcement_used_is_what_the_config_says(folders, known, tmp_path):
    config = fit("glorank", tmp_path, known, model_name_or_path=folders["place"], epochs=1)
    assert (config.space, config.list_size, config.hidden_size, config.layers) == ("place", 2, 8, 1)
    assert (config.history, config.dropout) == (6, 0.2)
    fitted(tmp_path / "again", known, kind="glorank", model_name_or_path=folders["place"], epochs=1, history=50)


@pytest.mark.parametrize(("kind", "option", "expected", "found"), [
    ("glorank", "model_name_or_path", "glorank", "evaluator"), ("degre", "evaluator", "evaluator", "glorank"),
])  # fmt: skip
def test_a_folder_of_another_kind_is_refused(folders, known, tmp_path, kind, option, expected, found):
    with pytest.raises(InputError, match=f"--{option} .*: expected a folder of `gr2 fit {expected}`, found {found}"):
        fitted(tmp_path / "out", known, kind=kind, list_size=2, **{option: folders[found]})


def test_places_beyond_the_networks_outputs_are_refused(folders, known, tmp_path):
    items = pl.read_parquet(known["items"])["item_id"].to_list()
    slates = pl.read_parquet(known["slates"])
    more = [[*row, next(item for item in items if item not in row)] for row in slates["candidates"].to_list()]
    unlabelled = pl.lit([], dtype=pl.List(pl.Float64)).alias("labels")
    wider = slates.drop("scores").with_columns(pl.Series("candidates", more), unlabelled)
    wider.write_parquet(tmp_path / "wider.parquet")
    with pytest.raises(InputError, match=r"place: it ranks at most 12 candidates; slate_id '.*' has 13"):
        ranked(tmp_path / "out", folders["place"], known, slates=str(tmp_path / "wider.parquet"))


@pytest.mark.parametrize("kind", ["blend", "lambdamart", "prm", "one_pass", "fusion"])
def test_slates_lack_no_scores_that_a_reranker_was_fitted_on(world, tmp_path, kind):
    """One that was fitted without any ranks slates without any."""
    files = {name: getattr(world, name) for name in ("items", "interactions", "embeddings")}
    few = {"prm": {"features": True, "epochs": 1}, "one_pass": {"readout": "none", "epochs": 1}}
    for name, column in (("scored", world.slates), ("bare", str(tmp_path / "bare.parquet"))):
        if name == "bare":
            pl.read_parquet(world.slates).drop("scores").write_parquet(column)
        few["fusion"] = {"members": [str(tmp_path / name / "member"), "popularity"]}
        if kind == "fusion":
            fit("blend", tmp_path / name / "member", files, slates=column)
        fit(kind, tmp_path / name / "it", files, slates=column, **few.get(kind, {}))
    how = {"slates": str(tmp_path / "bare.parquet"), "alone": 0} | files
    words = [word for name, value in how.items() for word in (f"--{name}", value)]
    words += ["--output_dir", tmp_path / "out", "--reranker"]
    complaint = refused("rerank", *words, tmp_path / "scored/it")
    assert "expected the pre-ranker's score of each candidate in column 'scores'" in complaint
    assert f"{tmp_path / 'bare.parquet'}: --reranker {tmp_path / 'scored/it'}: " in complaint
    assert complaint.endswith(" has none") and not (tmp_path / "out").exists()
    run_stage("rerank", [*map(str, words), str(tmp_path / "bare/it")])
    assert (tmp_path / "out" / "rankings.parquet").exists()


def test_scores_that_are_not_numbers_are_refused(known, tmp_path):
    model = PRM(PRMConfig(vector_size=16, hidden_size=8))
    model.output.weight.data.fill_(float("nan"))
    model.save_pretrained(tmp_path / "prm")
    write_json(tmp_path / "prm" / RECORD, {"kind": "prm"})
    with pytest.raises(InputError, match=r"slate_id '.*': expected finite scores, found \[nan"):
        ranked(tmp_path / "out", str(tmp_path / "prm"), known)
    assert not (tmp_path / "out").exists()


def test_a_version_is_what_the_files_hold(tmp_path):
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.txt").write_text(text)
    (tmp_path / "b/manifest.json").write_text("{}")  # how it was made is no part of it
    versions = [version_of(str(tmp_path / name)) for name in "abc"]
    assert versions[0] == versions[1] != versions[2] and version_of("random") == "random"
