"""gr2 traces with a server, a fake in a process of its own, that is killed in the midst of a run."""

import random
import subprocess
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from gr2 import errors
from gr2.files.artifacts import read_lines
from gr2.files.sid_tokens import sid_string
from gr2.samplers import openai as samplers_openai
from gr2.stages import traces
from gr2.traces.store import COLUMNS, PARTIAL, TRACES
from tests.samplers.fake_openai import server_process

ITEMS = [f"film{number}" for number in range(30)]
SLATES = 120


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tables")
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
        "labels": [[float(index == number % 4) for index in range(4)] for number in range(SLATES)],
        "split": ["train"] * SLATES,
    }
    for name, table in (("items", items), ("semantic_ids", sids), ("slates", slates)):
        pl.DataFrame(table).write_parquet(folder / f"{name}.parquet")
    return {name: str(folder / f"{name}.parquet") for name in ("items", "semantic_ids", "slates")}


@pytest.fixture(scope="module")
def expected(tables, tmp_path_factory) -> bytes:
    """traces.jsonl of an undisturbed run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with server_process(0) as (_, url):
        return ask(tables, folder, url)


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(samplers_openai, "RETRIES", 1)


def ask(tables: dict, folder: Path, url: str) -> bytes:
    teacher = {"engine": "openai", "model_name_or_path": "fake", "base_url": url, "concurrency": 4, "tries": 3}
    traces.run(traces.Config(**tables, **teacher, prompt="rejection", output_dir=str(folder)))
    return (folder / TRACES).read_bytes()


def kill_after(folder: Path, answers: int, process: subprocess.Popen) -> threading.Thread:
    """Kills the process once traces.partial has this many lines."""

    def watch() -> None:
        partial = folder / PARTIAL
        while not partial.exists() or partial.read_bytes().count(b"\n") < answers:
            time.sleep(0.005)
        process.kill()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_when_the_server_is_killed_what_was_answered_is_kept(tables, expected, tmp_path):
    """Each slate is answered once, by the first server or by the one that takes its place."""
    with server_process(0.02) as (process, url):
        watch = kill_after(tmp_path, 20, process)
        with pytest.raises(errors.ServiceError, match=f"the server failed: {url}"):
            ask(tables, tmp_path, url)
        watch.join()
    kept = (tmp_path / PARTIAL).read_bytes()
    assert kept.count(b'"slate_id"') >= 19 and not (tmp_path / TRACES).exists()
    with server_process(0) as (_, url):
        assert ask(tables, tmp_path, url) == expected
    rows = read_lines(tmp_path / TRACES, COLUMNS)
    assert len({(row["slate_id"], row["sample"]) for row in rows}) == len(rows)
    assert {row["slate_id"] for row in rows} == {f"slate{number}" for number in range(SLATES)}
