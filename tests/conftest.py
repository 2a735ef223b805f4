"""A tiny world, made once a session: films of four genres, users who each like one of them."""

import faulthandler
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import settings

settings.register_profile("gr2", deadline=None, derandomize=True)  # the same examples every time
settings.load_profile("gr2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: two processes then end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_unconfigure() -> None:
    """A process that hangs at its exit says where, and fails."""
    faulthandler.dump_traceback_later(120, exit=True, file=sys.__stderr__)


# The films' codes, three of eight each, as residual k-means gave them; fixed, so that what the training tests learn does not
# hang on a quantizer.
CODES = ("774 054 301 564 754 677 304 413 172 073 360 524 134 634 274 503 777 652 354 404 772 074 342 474 "
         "104 600 343 433 723 064 302 573 714 675 375 553 776 002 374 462 763 644 353 574 153 664 373 505")  # fmt: skip
GENRES = ("Comedy", "Drama", "Horror", "Western")
ITEMS, USERS, EVENTS = 48, 40, 24


@dataclass(frozen=True)
class World:
    """Folders of finished stages; `raw_items` and `raw_interactions` are what a user would bring."""

    root: Path

    def __getattr__(self, name: str) -> str:
        files = {
            "raw_items": "raw/items.csv",
            "raw_interactions": "raw/interactions.csv",
            "items": "prepare/items.parquet",
            "interactions": "prepare/interactions.parquet",
            "embeddings": "embed/embeddings.safetensors",
            "semantic_ids": "sids/semantic_ids.parquet",
            "slates": "slates/slates.parquet",
            "midtrain": "midtrain",
            "traces": "traces/traces.jsonl",
            "sft": "sft",
        }
        if name not in files:
            raise AttributeError(name)
        return str(self.root / files[name])


def gr2(
    *words: str | Path, expect: int = 0, cwd: Path | None = None, env: dict | None = None
) -> subprocess.CompletedProcess:
    """`gr2 WORDS` in a process of its own, as a user runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "gr2", *map(str, words)], capture_output=True, text=True, cwd=cwd, env=env
    )
    assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


def refused(stage: str, *words: str | Path) -> str:
    """What `gr2 STAGE WORDS` complains of; in this process, which spares the imports of another one."""
    from gr2.errors import InputError
    from gr2.stage import run_stage

    with pytest.raises(InputError) as complaint:
        run_stage(stage, [*map(str, words)])
    return str(complaint.value)


def raw_tables(seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Items, and events in which a user walks through the films of the genre that they like, in order of item id."""
    rng = np.random.default_rng(seed)
    items = pl.DataFrame({
        "item_id": [f"film{number:02d}" for number in range(ITEMS)],
        "title": [f"{GENRES[number % 4]} number {number}" for number in range(ITEMS)],
        "categories": [GENRES[number % 4] for number in range(ITEMS)],
    })  # fmt: skip
    rows = []
    for user in range(USERS):
        at, genre = int(rng.integers(12)), user % 4
        for event in range(EVENTS):
            number = (at + event) % 12 * 4 + genre if rng.random() < 0.9 else int(rng.integers(ITEMS))
            rows.append((f"user{user:02d}", f"film{number:02d}", 1_000_000 + 60 * event))
    return items, pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    """Everything up to slates (by popularity) and template traces; trained models come from `midtrained` and `tuned`."""
    from safetensors.numpy import save_file

    from gr2.data import prepare
    from gr2.data.catalogue import order_digest
    from gr2.prerank import slates
    from gr2.semantic_ids.files import write_ids

    made = World(tmp_path_factory.mktemp("world"))
    items, interactions = raw_tables()
    for folder in ("raw", "embed"):
        (made.root / folder).mkdir()
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
    write_ids(made.root / "sids/semantic_ids.parquet", item_ids, codes, {})
    slates.run(slates.Config(items=made.items, interactions=made.interactions, semantic_ids=made.semantic_ids,
                             output_dir=str(made.root / "slates"), pre_ranker=["popularity"], exclude_seen=False))  # fmt: skip
    return made


TINY = ["--per_device_train_batch_size", "8", "--logging_steps", "5", "--save_strategy", "no", "--disable_tqdm", "true"]


@pytest.fixture(scope="session")
def midtrained(world) -> str:
    """A model of 60,000 parameters that learned the world's sequences from scratch."""
    folder = world.root / "midtrain"
    gr2("midtrain", "--items", world.items, "--interactions", world.interactions, "--semantic_ids", world.semantic_ids,
        "--output_dir", folder, "--hidden_size", "64", "--layers", "2", "--heads", "2", "--vocab_size", "400",
        "--block_length", "128", "--passes", "40", "--mixture", "sequential=0.88", "captions=0.12",
        "--learning_rate", "4e-3", *TINY)  # fmt: skip
    return str(folder)


@pytest.fixture(scope="session")
def beginner(world) -> Path:
    """A model of 9,000 parameters after one step of mid-training: it knows the IDs' tokens and nothing else, in 2 seconds.

    Made in this process, which spares the imports of another one.
    """
    from gr2.stage import run_stage

    folder = world.root / "beginner"
    run_stage("midtrain", ["--items", world.items, "--interactions", world.interactions, "--semantic_ids", world.semantic_ids,
                           "--output_dir", str(folder), "--hidden_size", "16", "--layers", "1", "--heads", "2",
                           "--vocab_size", "300", "--context", "512", "--passes", "1", "--max_steps", "1", "--bf16", "false",
                           "--save_strategy", "no", "--disable_tqdm", "true"])  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def traced(world, midtrained) -> World:
    """The world with slates by the mid-trained model's beam search, and template traces for them."""
    beam = World(world.root / "by_beam")
    gr2("slates", "--items", world.items, "--interactions", world.interactions, "--semantic_ids", world.semantic_ids,
        "--model_name_or_path", midtrained, "--output_dir", beam.root / "slates", "--exclude_seen", "false",
        "--candidates", "3", "--history", "6", "--window", "16")  # fmt: skip
    gr2("traces", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", beam.slates,
        "--prompt", "rejection", "--mode", "template", "--output_dir", beam.root / "traces")  # fmt: skip
    return beam


@pytest.fixture(scope="session")
def tuned(world, midtrained, traced) -> str:
    """The mid-trained model after SFT on the template traces: it lists the candidates, without a trace.

    Three candidates and no trace: what a model of 60,000 parameters learns to write in a minute.
    """
    folder = world.root / "sft"
    gr2("sft", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
        "--traces", traced.traces, "--model_name_or_path", midtrained, "--output_dir", folder, "--bf16", "false",
        "--prompt", "student_no_trace", "--num_train_epochs", "40", "--learning_rate", "3e-3", *TINY)  # fmt: skip
    return str(folder)


def resumed_after_a_kill(
    stage: str, tmp_path: Path, words: list[str], checkpoint: str = "checkpoint-*"
) -> tuple[Path, Path]:
    """Folders of an undisturbed training and of one that was killed after `checkpoint` and started again: same model bytes."""
    from gr2.training import last_checkpoint

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    gr2(stage, "--output_dir", whole, *words)
    process = subprocess.Popen([sys.executable, "-m", "gr2", stage, "--output_dir", str(killed), *map(str, words)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    while process.poll() is None and not Path(last_checkpoint(killed) or "none yet").match(checkpoint):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    kept = sorted(killed.glob(f"{checkpoint}/trainer_state.json"))
    assert kept and not (killed / "model.safetensors").exists()
    torn = killed / "checkpoint-99999"  # and a checkpoint that the kill cut short
    shutil.copytree(kept[0].parent, torn)
    (torn / "trainer_state.json").unlink()
    assert "resuming from" in gr2(stage, "--output_dir", killed, *words).stdout
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not list(killed.glob("checkpoint-*"))
    return whole, killed


@pytest.fixture(scope="session")
def later(world, tmp_path_factory) -> str:
    """Slates of twelve films of which the next two are relevant; popularity knows nothing of what a user likes."""
    from gr2.prerank import slates as slates_stage

    folder = tmp_path_factory.mktemp("later")
    slates_stage.run(slates_stage.Config(items=world.items, interactions=world.interactions, output_dir=str(folder), history=6,
                                         pre_ranker=["popularity"], exclude_seen=False, protocol="later", relevant=2,
                                         candidates=12))  # fmt: skip
    return str(folder / "slates.parquet")
