"""Rerankers and pre-rankers on two workers of a local Ray; one that is killed loses nothing."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from gr2.cli import main
from gr2.files.artifacts import read_json
from gr2.files.slates import read_slates
from gr2.rerankers import on_ray
from gr2.rerankers.open import open_reranker
from gr2.rerankers.protocol import Inputs, Sampling
from gr2.retrieval import on_ray as pre_rankers
from tests.helpers import fit, local_ray, refused

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with local_ray(__name__):
        yield


def die_once(mark: Path) -> None:
    """Kills this process, unless one has died before."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def dying(worker: type, mark: Path) -> type:
    """The worker, which dies at the first task after its first one."""

    class Dying(worker):
        answered = 0

        def answer(self, task: str) -> str:
            if self.answered:
                die_once(mark)
            self.answered += 1
            return super().answer(task)

    return Dying


@pytest.fixture(scope="module")
def known(world, tmp_path_factory) -> Inputs:
    return Inputs(world.items, world.interactions, world.embeddings, world.semantic_ids)


@pytest.fixture(scope="module")
def blend(world, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("blend")
    names = ("items", "interactions", "embeddings", "slates")
    fit("blend", folder, {name: getattr(world, name) for name in names})
    return str(folder)


def test_a_reranker_answers_as_without_ray_also_where_a_worker_is_killed(world, blend, known, tmp_path, monkeypatch):
    slates = read_slates(world.slates, split="test")
    here = open_reranker(blend, known).rank(slates)
    monkeypatch.setattr(on_ray, "BATCH", 4)
    sampling = Sampling(engine="ray", workers=2, batch_size=4)
    mark = tmp_path / "died"
    monkeypatch.setattr(on_ray, "Worker", dying(on_ray.Worker, mark))
    assert open_reranker(blend, known, sampling).rank(slates) == here
    assert mark.exists()


def test_a_language_model_answers_as_without_ray_also_where_a_worker_is_killed(
    world, beginner, known, tmp_path, monkeypatch
):
    slates = read_slates(world.slates, split="test")[:12]
    here = Sampling("student_no_trace", batch_size=4, max_tokens=110, order="choices")
    expected = open_reranker(str(beginner), known, here).rank(slates)
    mark = tmp_path / "died"
    monkeypatch.setattr(on_ray, "Worker", dying(on_ray.Worker, mark))
    there = replace(here, engine="ray", workers=1, unfinished=tmp_path)
    found = open_reranker(str(beginner), known, there).rank(slates)
    assert [replace(one, latency_ms=0) for one in found] == [replace(one, latency_ms=0) for one in expected]
    assert mark.exists() and (tmp_path / "answers.partial").read_text().count("\n") == 4  # a head, and three batches


def test_the_command_writes_the_same_file(world, blend, tmp_path):
    words = [f"--{name}={getattr(world, name)}" for name in ("items", "interactions", "embeddings", "slates")]
    ray = ["--engine", "ray", "--workers", "2"]
    for folder, more in (("here", []), ("there", ray)):
        main(["rerank", "--reranker", blend, *words, "--shuffles", "2", *more, "--output_dir", str(tmp_path / folder)])
    for name in ("rankings.parquet", "shuffled.parquet"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert read_json(tmp_path / "there" / "timing.json")["alone"] == 0


def test_a_fusion_that_has_its_members_answers_needs_no_ray(world, tmp_path):
    words = [f"--{name}={getattr(world, name)}" for name in ("items", "slates")]
    words += ["--reranker", "random", "--engine", "ray", "--member_rankings", "a.parquet", "--output_dir", tmp_path]
    assert refused("rerank", *words).startswith("--member_rankings: expected another --engine than ray")


def test_slates_are_the_same_bytes_also_where_a_worker_is_killed(world, tmp_path, monkeypatch):
    words = ["--items", world.items, "--interactions", world.interactions, "--pre_ranker", "item_knn", "bm25"]
    words += ["--depth", "12", "--exclude_seen", "false", "--output_dir"]
    main(["slates", *words, str(tmp_path / "here")])
    mark = tmp_path / "died"
    monkeypatch.setattr("gr2.retrieval.on_ray.block_size", lambda n_items: 64)
    monkeypatch.setattr(pre_rankers, "Worker", dying(pre_rankers.Worker, mark))
    main(["slates", "--engine", "ray", "--workers", "2", *words, str(tmp_path / "there")])
    assert mark.exists()
    for name in ("slates.parquet", "top_k.parquet", "slates_report.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert pl.read_parquet(tmp_path / "there" / "slates.parquet").height > 64


def test_what_no_worker_can_list_is_refused(world, tmp_path):
    known = ["--items", world.items, "--interactions", world.interactions, "--output_dir", tmp_path / "out"]
    for words in (["--protocol", "later", "--pre_ranker", "popularity"], ["--pre_ranker", "file", "--top_k", "a.csv"]):
        complaint = refused("slates", *known, "--engine", "ray", *words)
        assert complaint == "--engine ray: expected --protocol next and pre-rankers other than file"
