from pathlib import Path

import polars as pl
import pytest

from gr2.errors import InputError
from gr2.files.artifacts import read_json, read_lines
from gr2.runner.stage import input_paths
from gr2.stages import template, traces
from gr2.traces.store import COLUMNS
from tests.helpers import refused
from tests.traces import fake_teacher
from tests.traces.fake_teacher import SIDS, FakeSampler, relevant, write_tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, str]:
    return write_tables(tmp_path_factory.mktemp("tables"))


def run(tables: dict[str, str], folder: Path, **changes) -> list[dict]:
    template.run(template.Config(**tables, **({"prompt": "rejection", "output_dir": str(folder)} | changes)))
    return read_lines(folder / "traces.jsonl", COLUMNS)


def test_the_template_fills_in_what_the_teacher_left(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(traces, "open_sampler", lambda *_, **__: FakeSampler())
    asked = fake_teacher.run(tables, tmp_path / "teacher")
    skip = [str(tmp_path / "teacher" / "traces.jsonl")]
    rows = run(tables, tmp_path / "template", skip_accepted=skip)
    helped = {row["slate_id"] for row in asked if row["accepted"]}
    assert helped and {row["slate_id"] for row in rows} == {row["slate_id"] for row in asked} - helped
    for row in rows:
        first = relevant(tables)[row["slate_id"]][0]
        assert row["accepted"] and row["ranking"][0] == first and row["teacher"] == "template"
        slate = pl.read_parquet(tables["slates"]).row(by_predicate=pl.col("slate_id") == row["slate_id"], named=True)
        assert row["ranking"][1:] == [item_id for item_id in slate["candidates"] if item_id != first]


def test_the_template_teaches_the_order_of_a_reranker(tables, tmp_path):
    slates = pl.read_parquet(tables["slates"]).filter(pl.col("split") == "train")
    taught = slates.select(
        "slate_id", pl.col("candidates").list.reverse().alias("ranking"), pl.lit(True).alias("valid")
    )
    taught.reverse().write_parquet(tmp_path / "rankings.parquet")
    rows = run(tables, tmp_path / "out", rankings=str(tmp_path / "rankings.parquet"))
    # slate0 has no relevant item, and needs none
    assert [row["slate_id"] for row in rows] == slates["slate_id"].to_list()
    for row, slate in zip(rows, slates.iter_rows(named=True), strict=True):
        assert row["accepted"] and row["ranking"] == slate["candidates"][::-1]
        assert SIDS[row["ranking"][0]] in row["reasoning"] and row["teacher"] == str(tmp_path / "rankings.parquet")


def test_unusable_answers_are_not_taught_and_are_counted(tables, tmp_path, capsys):
    slates = pl.read_parquet(tables["slates"]).filter(pl.col("split") == "train")
    usable = pl.int_range(pl.len()) % 4 != 1
    ranked = slates.select("slate_id", ranking="candidates", valid=usable)
    ranked.write_parquet(tmp_path / "rankings.parquet")
    rows = run(tables, tmp_path / "out", rankings=str(tmp_path / "rankings.parquet"))
    assert [row["slate_id"] for row in rows] == ranked.filter("valid")["slate_id"].to_list() and len(rows) == 15
    assert [row["ranking"] for row in rows] == ranked.filter("valid")["ranking"].to_list()
    assert read_json(tmp_path / "out/summary.json")["slates_without_usable_ranking"] == 5
    assert "left out: 5 slates whose ranking is unusable" in capsys.readouterr().out
    ranked.with_columns(valid=pl.lit(False)).write_parquet(tmp_path / "none.parquet")
    with pytest.raises(InputError, match=r"--rankings .*none.parquet: expected usable rankings, found 20 unusable"):
        run(tables, tmp_path / "no", rankings=str(tmp_path / "none.parquet"))
    assert not (tmp_path / "no").exists()


def test_the_order_of_a_reranker_must_be_there_for_every_slate(tables, tmp_path):
    slates = pl.read_parquet(tables["slates"]).head(3)
    slates.select("slate_id", ranking="candidates", valid=pl.lit(True)).write_parquet(tmp_path / "few.parquet")
    with pytest.raises(InputError, match="expected a row for every slate; 17 are missing"):
        run(tables, tmp_path / "out", rankings=str(tmp_path / "few.parquet"))


def test_a_random_few_in_file_order(tables, tmp_path):
    rows = run(tables, tmp_path / "a", max_slates=6)
    numbers = [int(row["slate_id"].removeprefix("slate")) for row in rows]
    assert len(numbers) == 6 and numbers == sorted(numbers) and numbers != list(range(1, 7))
    assert rows == run(tables, tmp_path / "b", max_slates=6)


def test_traces_say_by_which_prompt_domain_and_priming_they_were_made(world, tmp_path):
    tables = {"items": world.items, "semantic_ids": world.semantic_ids, "slates": world.slates}
    how = {"prompt": "rejection", "domain": "movies", "priming": False}
    config = template.Config(**tables, **how, output_dir=str(tmp_path))
    template.run(config)
    label = {"name": "rejection", "version": 1, "domain": "movies", "priming": False}
    assert read_json(tmp_path / "summary.json")["prompt"] == label
    system = read_lines(tmp_path / "traces.jsonl", ("messages",))[0]["messages"][0]["content"]
    assert "expert in films" in system and "sequels" not in system
    read = {Path(path).name for path in input_paths(config, {})}
    assert {"rejection.yaml", "movies.yaml"} <= read, "the manifest has their sha256"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "targeted"}, "--prompt targeted: expected a prompt that does not show the target"),
        ({"split": "valid"}, "expected slates of split 'valid'"),
        ({"split": "holdout"}, "--split holdout: expected one of train, valid, test"),
        ({"max_slates": 0}, "--max_slates 0: expected a number"),
        ({"rankings": "nowhere.parquet"}, "nowhere.parquet"),
        ({"least_gain": 1}, "template: unknown key 'least_gain'"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_written(tables, tmp_path, changes, message):
    options = tables | {"prompt": "rejection", "output_dir": tmp_path / "out"} | changes
    assert message in refused("template", *(f"--{name}={value}" for name, value in options.items()))
    assert not (tmp_path / "out").exists()
