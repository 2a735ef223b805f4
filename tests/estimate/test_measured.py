"""Estimates against runs: peak memory of trainings in processes of their own, and the rates of the first GPU run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gr2.devices import DEVICES
from gr2.estimate.formulas import count_parameters
from gr2.estimate.loads import Batch, Cluster, train
from gr2.estimate.shapes import PUBLISHED, read_shape
from tests.helpers import World

ON_CPU = Cluster(DEVICES["cpu"], 1, "one")
LENGTH = 256


SCRIPT = """
import json, os, sys
import gr2.stages.midtrain
from gr2.cli import main

for words in json.loads(sys.argv[1]):
    if not (child := os.fork()):
        main(words)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def words_of(world: World, folder: Path, hidden: int, layers: int, heads: int, rows: int) -> list[str]:
    """Two steps of `gr2 midtrain`."""
    sizes = {"hidden_size": hidden, "layers": layers, "heads": heads, "vocab_size": 400, "block_length": LENGTH}
    sizes |= {"per_device_train_batch_size": rows, "passes": 12, "max_steps": 2, "bf16": False}
    sizes |= {"save_strategy": "no", "disable_tqdm": True}
    words = [word for name, value in sizes.items() for word in (f"--{name}", str(value).lower())]
    inputs = ["--items", world.items, "--interactions", world.interactions, "--semantic_ids", world.semantic_ids]
    return ["midtrain", *inputs, "--output_dir", str(folder), *words]


def peak(folder: Path) -> int:
    """Bytes at the peak of the process, its imports among them."""
    return json.loads((folder / "manifest.json").read_text())["peak_memory_bytes"]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a minute of computing, many where others compute
def test_peak_memory_of_three_sizes_within_a_fifth(world, tmp_path):
    """Each in a process of its own, forked from one that has imported what a training needs.

    The C library would keep what is freed in pieces below 32 MiB, and give new tensors other places.
    """
    sizes = [(256, 6, 4, 8), (512, 8, 8, 4), (768, 10, 12, 2)]
    todo = [words_of(world, tmp_path / str(size[0]), *size) for size in [(16, 1, 2, 2), *sizes]]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "262144"}
    subprocess.run([sys.executable, "-c", SCRIPT, json.dumps(todo)], env=environment, check=True)
    for hidden, _, _, rows in sizes:
        folder = tmp_path / str(hidden)
        measured = peak(folder) - peak(tmp_path / "16")
        shape = read_shape(folder / "config.json")
        batch = Batch(rows, LENGTH, rows * LENGTH, "whole", steps=2)
        load = train("midtrain", shape, trained=count_parameters(shape), cluster=ON_CPU, batch=batch, mixed=False)
        assert load.memory.peak == pytest.approx(measured, rel=0.2), (hidden, load.memory)


def test_the_rates_of_the_first_gpu_run_are_what_the_default_utilisation_says():
    """Mid-training and two SFTs of SmolLM2-135M on an H200: 77k, 82k and 89k tokens a second."""
    shape, cluster = PUBLISHED["huggingfacetb/smollm2-135m"].with_ids(4, 256), Cluster(DEVICES["h200"], 1, "one")
    for length, rate in ((1024, 77_000), (353, 82_000), (353, 89_000)):
        load = train("a stage", shape, count_parameters(shape), cluster, Batch(1, length, 1, "fused", 1000), mixed=True)
        assert load.tokens / load.seconds == pytest.approx(rate, rel=0.2)
