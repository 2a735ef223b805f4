"""What tests of every kind share: a process, a complaint, a tiny world's raw tables, a training that is killed."""

import fcntl
import importlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest

from tests.forking import forked, start_forked

if TYPE_CHECKING:  # slow to import
    from multiprocessing.context import ForkServerProcess

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from gr2.data.features import Features

# The films' codes, three of eight each, as residual k-means gave them; fixed, so that what the training tests learn
# does not hang on a quantizer.
CODES = (
    "774 054 301 564 754 677 304 413 172 073 360 524 134 634 274 503 777 652 354 404 772 074 342 474 "
    "104 600 343 433 723 064 302 573 714 675 375 553 776 002 374 462 763 644 353 574 153 664 373 505"
)
GENRES = ("Comedy", "Drama", "Horror", "Western")
ITEMS, USERS, EVENTS = 48, 40, 24
TINY = shlex.split(
    "--per_device_train_batch_size 8 --logging_steps 5 --save_strategy no --disable_tqdm true "
    "--gradient_checkpointing false"  # with it a step takes 1.5 times as long
)


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


@contextmanager
def once(folder: Path) -> Iterator[bool]:
    """Whether `folder` is still to be made: the first of the tests' processes makes it, the others wait and use it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.with_name(f"{folder.name}.made")
    with open(folder.with_name(f"{folder.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield not made.exists()
        made.touch()


@contextmanager
def local_ray(module: str) -> Iterator[None]:
    """A Ray of the tests' own, whose workers get a test module's classes by value: they cannot import it.

    It keeps idle workers, as to start one takes seconds, and does not rank them below other processes, as Ray does.
    """
    ray = pytest.importorskip("ray")
    ray.cloudpickle.register_pickle_by_value(sys.modules[module])
    settings = {"RAY_idle_worker_killing_time_threshold_ms": "600000", "RAY_worker_niceness": "0"}
    with patch.dict(os.environ, settings):
        yield
        ray.shutdown()


def gr2(
    *words: str | Path, expect: int = 0, cwd: Path | None = None, env: dict | None = None
) -> subprocess.CompletedProcess:
    """`gr2 WORDS` in a process of its own, as a user runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "gr2", *map(str, words)], capture_output=True, text=True, cwd=cwd, env=env
    )
    assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


def gr2_once(folder: Path, *words: str | Path) -> None:
    """`gr2 WORDS --output_dir FOLDER`, unless another of the tests' processes has done it."""
    with once(folder) as missing:
        if missing:
            forked(*words, "--output_dir", folder)


def refused(stage: str, *words: str | Path) -> str:
    """What `gr2 STAGE WORDS` complains of; in this process, which spares the imports of another one."""
    from gr2.errors import InputError
    from gr2.runner.stage import run_stage

    with pytest.raises(InputError) as complaint:
        run_stage(stage, [*map(str, words)])
    return str(complaint.value)


def fit(kind: str, folder: str | Path, known: dict, **options) -> Any:
    """Runs `gr2 fit KIND` in this process with what it takes of `known`, and these options; returns its Config."""
    stage = importlib.import_module(f"gr2.stages.fit.{kind}")
    inputs = {name: value for name, value in known.items() if name in stage.Config.__dataclass_fields__}
    config = stage.Config(output_dir=str(folder), **inputs | options)
    stage.run(config)
    return config


def untold(vectors: np.ndarray, bought: list[str] | None = None) -> "Features":
    """Features of i0, i1, ... that have vectors and no titles; one user bought `bought`, by default i0."""
    from gr2.data.features import Features

    bought = bought or ["i0"]
    items = pl.DataFrame({"item_id": [f"i{at}" for at in range(len(vectors))], "title": ""})
    known = {"user_id": "u", "item_id": bought, "timestamp": range(len(bought)), "split": "pretrain"}
    return Features(items, pl.DataFrame(known), vectors)


def save_model(model, tokenizer, folder: str | Path) -> None:
    """Writes a checkpoint that loads with AutoModelForCausalLM and in vLLM; nothing is sampled by default."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def raw_tables(seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Items, and events in which a user walks through the films of the genre that they like, in order of item id."""
    rng = np.random.default_rng(seed)
    items = pl.DataFrame(
        {
            "item_id": [f"film{number:02d}" for number in range(ITEMS)],
            "title": [f"{GENRES[number % 4]} number {number}" for number in range(ITEMS)],
            "categories": [GENRES[number % 4] for number in range(ITEMS)],
        }
    )
    rows = []
    for user in range(USERS):
        at, genre = int(rng.integers(12)), user % 4
        for event in range(EVENTS):
            number = (at + event) % 12 * 4 + genre if rng.random() < 0.9 else int(rng.integers(ITEMS))
            rows.append((f"user{user:02d}", f"film{number:02d}", 1_000_000 + 60 * event))
    return items, pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")


def kill_at(process: "ForkServerProcess", moment: Callable[[], object]) -> None:
    """Kills the process as soon as the moment has come, which is before its end."""
    while process.is_alive() and not moment():
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "the run ended before it could be killed"


def resumed_after_a_kill(
    stage: str, tmp_path: Path, words: list[str], checkpoint: str = "checkpoint-*"
) -> tuple[Path, Path]:
    """Folders of a whole training and of one killed after `checkpoint` and started again: same model bytes.

    The whole one is made in this process, whose sets of strings have another order than those of forked ones.
    """
    from gr2.runner.stage import run_stage
    from gr2.training import find_last_checkpoint

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = [*map(str, words)]
    run_stage(stage, [*words, "--output_dir", str(whole)])
    words = [*stage.split(), *words]
    process = start_forked([*words, "--output_dir", str(killed)], tmp_path)
    kill_at(process, lambda: Path(find_last_checkpoint(killed) or "none yet").match(checkpoint))
    kept = sorted(killed.glob(f"{checkpoint}/trainer_state.json"))
    assert kept and not (killed / "model.safetensors").exists()
    torn = killed / "checkpoint-99999"  # and a checkpoint that the kill cut short
    shutil.copytree(kept[0].parent, torn)
    (torn / "trainer_state.json").unlink()
    assert "resuming from" in forked(*words, "--output_dir", killed).stdout
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not list(killed.glob("checkpoint-*"))
    return whole, killed


def list_writer_words(world: World, slates: str, **changed: object) -> list[str]:
    """The options of `gr2 fit` for a small writer of lists."""
    options = {
        "items": world.items,
        "semantic_ids": world.semantic_ids,
        "slates": slates,
        "list_size": 2,
        "hidden_size": 32,
        "epochs": 30,
        "patience": 30,
        "learning_rate": 3e-3,
        "batch_size": 16,
    } | changed
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def untied_llama(tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedModel":
    """A tiny Llama whose output rows are not its input rows; weights as torch's seed has them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            tie_word_embeddings=False,
        )
    )
