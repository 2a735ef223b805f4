"""gr2 traces with several servers, which are fakes in processes of their own: killed in the midst of a run."""

import random
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from gr2 import errors
from gr2.files.artifacts import read_lines
from gr2.files.sid_tokens import sid_string
from gr2.samplers import openai as samplers_openai
from gr2.stages import traces as sample
from gr2.traces import store
from tests.samplers.fake_openai import server_process

ITEMS = [f"film{number}" for number in range(30)]
SLATES = 120


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("many")
    items = {"item_id": ITEMS, "title": ITEMS, "categories": [["Drama"]] * 30}
    codes = [[number, number % 5, 7] for number in range(30)]
    sids = {"item_id": ITEMS, "codes": codes, "sid": [sid_string(each) for each in codes]}
    rng = random.Random(0)
    shown = [rng.sample(ITEMS, 9) for _ in range(SLATES)]
    slates = {
        "slate_id": [f"slate{number}" for number in range(SLATES)],
        "user_id": ["user"] * SLATES,
        "history": [each[:5] for each in shown],
        "candidates": [each[5:] for each in shown],
        "labels": [[float(place == number % 4) for place in range(4)] for number in range(SLATES)],
        "split": ["train"] * SLATES,
    }
    for name, table in (("items", items), ("semantic_ids", sids), ("slates", slates)):
        pl.DataFrame(table).write_parquet(folder / f"{name}.parquet")
    return {name: str(folder / f"{name}.parquet") for name in ("items", "semantic_ids", "slates")}


@pytest.fixture(scope="module")
def expected(tables, tmp_path_factory) -> bytes:
    """traces.jsonl of an undisturbed run with one server."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with server_process(0) as (_, url):
        return traces(tables, folder, [url])


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(samplers_openai, "RETRIES", 1)


def traces(tables: dict, folder: Path, urls: list[str]) -> bytes:
    config = sample.Config(**tables, prompt="rejection", output_dir=str(folder), tries=3, engine="openai",
                           model_name_or_path="fake", base_url=urls, concurrency=4)  # fmt: skip
    sample.run(config)
    return (folder / store.TRACES).read_bytes()


def kill_after(folder: Path, answers: int, processes: list) -> threading.Thread:
    """Kills the processes once so many lines are in traces.partial."""

    def watch() -> None:
        partial = folder / store.PARTIAL
        while not partial.exists() or partial.read_bytes().count(b"\n") < answers:
            time.sleep(0.005)
        for process in processes:
            process.kill()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_server_that_is_killed_costs_no_slate(tables, expected, tmp_path, capsys):
    with server_process(0.02) as one, server_process(0.02) as two, server_process(0.02) as three:
        watch = kill_after(tmp_path, 20, [two[0]])
        found = traces(tables, tmp_path, [url for _, url in (one, two, three)])
        watch.join()
        assert two[0].poll() is not None
    said = capsys.readouterr().out
    assert said.count("left out") == 1 and two[1] in said and "2 of 3 servers left" in said
    assert found == expected
    rows = read_lines(tmp_path / store.TRACES, store.COLUMNS)
    assert len({(row["slate_id"], row["sample"]) for row in rows}) == len(rows)
    assert {row["slate_id"] for row in rows} == {f"slate{number}" for number in range(SLATES)}


def test_when_all_are_killed_what_was_answered_is_kept(tables, expected, tmp_path):
    with server_process(0.02) as one, server_process(0.02) as two:
        watch = kill_after(tmp_path, 20, [one[0], two[0]])
        with pytest.raises(errors.ServiceError, match="no server is left that answers"):
            traces(tables, tmp_path, [one[1], two[1]])
        watch.join()
    kept = (tmp_path / store.PARTIAL).read_bytes()
    assert kept.count(b'"slate_id"') >= 19 and not (tmp_path / store.TRACES).exists()
    with server_process(0) as (_, url):
        assert traces(tables, tmp_path, [url]) == expected
