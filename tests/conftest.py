"""A tiny world, made once a session: films of four genres, users who each like one of them."""

import faulthandler
import gc
import os
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import settings

from tests.browser import CHROMIUM, Browser
from tests.helpers import CODES, TINY, World, gr2_once, once, raw_tables

settings.register_profile("gr2", deadline=None, derandomize=True)  # the same examples every time
settings.load_profile("gr2")


LONGEST = (  # the files that take a minute or so, the longest first; the second needs nothing that the first makes
    "stages/test_sft", "runner/test_update", "samplers/test_ray", "scenarios/test_distributed", "stages/test_rl",
    "rerankers/test_on_ray", "semantic_ids/test_shards", "runner/test_pipeline", "samplers/test_vllm_orders",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then others with slow tests: several processes then end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    folder = Path(__file__).parent
    rank = {folder / f"{name}.py": place for place, name in enumerate(LONGEST)}
    rank = {path: rank.get(path, len(LONGEST) + (path not in slow)) for path in {item.path for item in items}}
    items.sort(key=lambda item: rank[item.path])


def pytest_configure(config: pytest.Config) -> None:
    """A cache that all processes of this run share: a packaged model is converted once, by the code that is tested."""
    if not is_worker():
        cache = tempfile.TemporaryDirectory(prefix="gr2-cache-", ignore_cleanup_errors=True)
        os.environ["XDG_CACHE_HOME"] = cache.name
        config.add_cleanup(cache.cleanup)


def pytest_sessionstart() -> None:
    """What is imported stays: to look for garbage among its million objects took 8 % of some tests' time."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """A process that hangs at its exit says where, and fails; not one of xdist's, which wait for each other here."""
    gc.unfreeze()  # else libraries report at exit what was never freed
    if not is_worker():
        faulthandler.dump_traceback_later(120, exit=True, file=sys.__stderr__)


def is_worker() -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A browser to look at pages with; tests that need one are skipped where there is no Chromium."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: pages are not looked at")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def world(tmp_path_factory, worker_id) -> World:
    """All up to slates (by popularity) and template traces; trained models come from `midtrained` and `tuned`."""
    base = tmp_path_factory.getbasetemp()
    made = World((base if worker_id == "master" else base.parent) / "world")
    with once(made.root) as missing:
        if missing:
            make_world(made)
    return made


def make_world(made: World) -> None:
    from safetensors.numpy import save_file

    from gr2.files.items import order_digest
    from gr2.files.semantic_ids import write_semantic_ids
    from gr2.stages import prepare, slates

    items, interactions = raw_tables()
    for folder in ("raw", "embed"):
        (made.root / folder).mkdir(parents=True)
    items.write_csv(made.raw_items)
    interactions.write_csv(made.raw_interactions)
    prepare.run(
        prepare.Config(items=made.raw_items, interactions=made.raw_interactions, output_dir=str(made.root / "prepare"))
    )
    item_ids = pl.read_parquet(made.items)["item_id"]
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 16))
    vectors = np.stack([centres[int(name[4:]) % 4] + 0.3 * rng.normal(size=16) for name in item_ids]).astype(np.float32)
    save_file({"embeddings": vectors}, made.embeddings, {"items": order_digest(item_ids)})
    codes = np.array([[int(code) for code in word] for word in CODES.split()])
    write_semantic_ids(made.root / "sids/semantic_ids.parquet", item_ids, codes, {})
    slates.run(
        slates.Config(
            items=made.items,
            interactions=made.interactions,
            semantic_ids=made.semantic_ids,
            output_dir=str(made.root / "slates"),
            pre_ranker=["popularity"],
            exclude_seen=False,
        )
    )


def tables(world: World) -> list[str]:
    return ["--items", world.items, "--semantic_ids", world.semantic_ids]


@pytest.fixture(scope="session")
def midtrained(world) -> str:
    """A model of 60,000 parameters that learned the world's sequences from scratch."""
    folder = world.root / "midtrain"
    words = (
        "--hidden_size 64 --layers 2 --heads 2 --vocab_size 400 --block_length 128 --passes 40 "
        "--mixture sequential=0.88 captions=0.12 --learning_rate 4e-3"
    )
    gr2_once(folder, "midtrain", *tables(world), "--interactions", world.interactions, *shlex.split(words), *TINY)
    return str(folder)


@pytest.fixture(scope="session")
def beginner(world) -> Path:
    """A model of 9,000 parameters after one step of mid-training: it knows the IDs' tokens and nothing else.

    Made in this process, in 2 seconds: it spares the imports of another one.
    """
    from gr2.runner.stage import run_stage

    folder = world.root / "beginner"
    words = (
        "--hidden_size 16 --layers 1 --heads 2 --vocab_size 300 --context 512 --passes 1 --max_steps 1 --bf16 false "
        "--save_strategy no --disable_tqdm true"
    )
    with once(folder) as missing:
        if missing:
            paths = ["--interactions", world.interactions, "--output_dir", str(folder)]
            run_stage("midtrain", [*tables(world), *paths, *shlex.split(words)])
    return folder


@pytest.fixture(scope="session")
def traced(world, midtrained) -> World:
    """The world with slates by the mid-trained model's beam search, and template traces for them."""
    beam = World(world.root / "by_beam")
    words = shlex.split("--exclude_seen false --candidates 3 --history 6 --window 16")
    paths = ["--interactions", world.interactions, "--model_name_or_path", midtrained]
    gr2_once(beam.root / "slates", "slates", *tables(world), *paths, *words)
    words = ["--slates", beam.slates, "--prompt", "rejection"]
    gr2_once(beam.root / "traces", "template", *tables(world), *words)
    return beam


@pytest.fixture(scope="session")
def tuned(world, midtrained, traced) -> str:
    """The mid-trained model after SFT on the template traces: it lists the candidates, without a trace.

    Three candidates and no trace: what a model of 60,000 parameters learns to write in half a minute.
    """
    folder = world.root / "sft"
    words = shlex.split("--bf16 false --prompt student_no_trace --num_train_epochs 24 --learning_rate 5e-3")
    paths = ["--slates", traced.slates, "--traces", traced.traces, "--model_name_or_path", midtrained]
    gr2_once(folder, "sft", *tables(world), *paths, *words, *TINY)
    return str(folder)


@pytest.fixture(scope="session")
def later(world, tmp_path_factory) -> str:
    """Slates of twelve films of which the next two are relevant; popularity knows nothing of what a user likes."""
    from gr2.stages import slates as slates_stage

    folder = tmp_path_factory.mktemp("later")
    slates_stage.run(
        slates_stage.Config(
            items=world.items,
            interactions=world.interactions,
            output_dir=str(folder),
            history=6,
            pre_ranker=["popularity"],
            exclude_seen=False,
            protocol="later",
            relevant=2,
            candidates=12,
        )
    )
    return str(folder / "slates.parquet")
