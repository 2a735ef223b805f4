"""gr2 export: a folder that writes the lists of `gr2 rerank`, asked where neither gr2 nor torch can be imported."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from gr2.data.catalogue import read_catalogue
from gr2.files.artifacts import write_json
from gr2.rerankers.list_writer.network import ListWriter, ListWriterConfig
from gr2.rerankers.record import RECORD, write_record
from gr2.runner.stage import run_stage
from gr2.stages import rerank
from tests.helpers import gr2, refused

pytestmark = pytest.mark.slow
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

ALONE = """
import sys
sys.modules.update(gr2=None, torch=None)  # to import either is an error
"""
ASK = """
import json
from list_writer import ListWriter
histories, candidates = json.load(open("asked.json"))
writer = ListWriter(".")
together = writer.write(histories, candidates)
assert together == [writer.write([one], [other])[0] for one, other in zip(histories, candidates)]
json.dump(together, open("answered.json", "w"))
"""


def ask_alone(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", ALONE + code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_network(world, folder: Path, kind: str, space: str) -> Path:
    """An untrained writer of three items, with large weights, so that lists depend on all that is read. In the global
    space, all codes of the second and the third level are equally good.
    """
    torch.manual_seed(0)
    model = ListWriter(
        ListWriterConfig(
            levels=3, codes=8, space=space, list_size=3, history=5, hidden_size=16, heads=2, encoder_layers=1
        )
    )
    for name, parameter in model.named_parameters():
        parameter.data.normal_(std=0.0 if name.startswith(("heads.1", "heads.2")) else 0.5)
    model.save_pretrained(folder)
    write_record(folder, kind, read_catalogue(world.items, world.semantic_ids))
    return folder


def words(world, reranker: Path) -> list[str]:
    return ["--reranker", str(reranker), "--items", world.items, "--semantic_ids", world.semantic_ids]


@pytest.fixture(scope="module")
def exported(world, tmp_path_factory) -> Path:
    """The folder of a pointer's program; beside it, `network` is the reranker's."""
    root = tmp_path_factory.mktemp("export")
    network = write_network(world, root / "network", "degre", "pointer")
    done = gr2("export", *words(world, network), "--output_dir", root / "program")
    assert "the network's list on 200 of 200 random requests" in done.stdout
    assert "warning" not in done.stderr.lower() and "skipping" not in done.stderr.lower()
    return root / "program"


@pytest.fixture(scope="module")
def cut(later, tmp_path_factory) -> Path:
    """Slates with 1 to 12 candidates, and histories of 1 to 6 films."""
    row = pl.int_range(pl.len())
    table = pl.read_parquet(later).select(
        "slate_id", "user_id", "split",
        pl.col("history").list.tail(1 + row % 6), pl.col("candidates").list.head(1 + row % 12),
        labels=pl.lit([], pl.List(pl.Float64)),
    )  # fmt: skip
    table.write_parquet(file := tmp_path_factory.mktemp("cut") / "slates.parquet")
    return file


def assert_same(world, slates: Path, network: Path, program: Path, folder: Path) -> None:
    """The program, asked alone, writes the lists of `gr2 rerank`; in one batch and request by request."""
    inputs = {"items": world.items, "semantic_ids": world.semantic_ids, "slates": str(slates)}
    rerank.run(rerank.Config(**inputs, reranker=str(network), output_dir=str(folder), split="train", alone=0))
    table = pl.read_parquet(slates).join(pl.read_parquet(folder / "rankings.parquet"), on="slate_id")
    (program / "asked.json").write_text(json.dumps([table["history"].to_list(), table["candidates"].to_list()]))
    ask_alone(ASK, program)
    expected = [ranking[:3] for ranking in table["ranking"].to_list()]
    assert json.loads((program / "answered.json").read_text()) == expected
    assert {len(items) for items in expected} == {1, 2, 3} and len(table) > 50


def test_a_pointers_program_writes_the_lists_of_rerank(world, cut, exported, tmp_path):
    assert_same(world, cut, exported.parent / "network", exported, tmp_path)


def test_a_program_of_global_ids_writes_the_lists_of_rerank_and_ties_go_to_the_lowest_code(world, cut, tmp_path):
    network = write_network(world, tmp_path / "network", "glorank", "global")
    run_stage("export", [*words(world, network), "--output_dir", str(tmp_path / "program")])
    assert_same(world, cut, network, tmp_path / "program", tmp_path / "rankings")
    codes = read_catalogue(world.items, world.semantic_ids).codes
    _, asked = json.loads((tmp_path / "program" / "asked.json").read_text())
    lists = json.loads((tmp_path / "program" / "answered.json").read_text())
    ties = 0
    for candidates, items in zip(asked, lists, strict=True):
        for at, item in enumerate(items):
            left = [codes[other] for other in candidates if other not in items[:at]]
            equal = [other for other in left if other[0] == codes[item][0]]
            assert codes[item] == min(equal)
            ties += len(equal) > 1
    assert ties > 5


def test_the_readme_runs_as_it_stands(exported):
    text = (exported / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) == 10
    (line,) = ask_alone(code, exported).splitlines()
    assert sorted(ast.literal_eval(line)) == ["film00", "film01", "film02"]
    assert "wrote the network's list 200 times" in text


def test_what_is_published_names_no_place_of_this_machine(exported):
    for file in exported.iterdir():
        if file.name not in ("manifest.json", "__pycache__"):
            content = file.read_bytes()
            assert b"site-packages" not in content and str(Path.home()).encode() not in content
            assert str(Path(__file__).parents[2]).encode() not in content


@pytest.fixture(scope="module")
def writer(exported):
    from gr2.rerankers.list_writer.standalone import ListWriter

    return ListWriter(exported)


def test_unknown_films_of_a_history_and_old_ones_are_left_out(writer):
    candidates = [["film07", "film20", "film33", "film46"]]
    known = [["film01", "film02", "film03", "film04", "film05"]]
    (expected,) = writer.write(known, candidates)
    assert writer.write([["film40", "gone", *known[0][:2], "new", *known[0][2:]]], candidates) == [expected]
    assert writer.write([[]], candidates) == writer.write([["gone"]], candidates) != [expected]
    assert writer.write([], []) == []


@pytest.mark.parametrize(("histories", "candidates", "complaint"), [
    ([[]], [["film01"], ["film02"]], "expected a history for each request, found 1 for 2"),
    ([[], []], [["film01"], []], "request 1: expected candidates, found none"),
    ([[]], [["film01", "film99"]], "request 0: candidate 'film99': expected an item of items.json"),
    ([[]], [["film01", "film02", "film01"]], "request 0: candidate 'film01': expected once, found again"),
])  # fmt: skip
def test_a_wrong_request_is_refused_in_a_sentence(writer, histories, candidates, complaint):
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        writer.write(histories, candidates)


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(world, tmp_path, monkeypatch):
    output = ["--output_dir", tmp_path / "out"]
    place = write_network(world, tmp_path / "place", "glorank", "place")
    assert refused("export", *words(world, place), *output).endswith("expected --space global or pointer, found place")
    write_json(tmp_path / "blend" / "blend.json", {})
    write_record(tmp_path / "blend", "blend")
    complaint = refused("export", *words(world, tmp_path / "blend"), *output)
    assert complaint.endswith("expected a folder of `gr2 fit glorank`, `degre` or `goalrank`; found blend")
    write_json(place / RECORD, {"kind": "glorank", "semantic_ids": "of others"})
    assert "it was fitted on other items or semantic IDs" in refused("export", *words(world, place), *output)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    complaint = refused("export", *words(world, place), *output)
    assert complaint == "export: expected the package onnxscript; pip install 'gr2[export]'"
    assert not (tmp_path / "out").exists()
