"""Estimates against runs: peak memory of trainings in processes of their own, and the rates of the first GPU run."""

import json
import os
from pathlib import Path

import pytest

from gr2.devices import DEVICES
from gr2.estimate.formulas import count_parameters
from gr2.estimate.loads import Batch, Cluster, train
from gr2.estimate.shapes import PUBLISHED, read_shape
from tests.helpers import World, gr2

ON_CPU = Cluster(DEVICES["cpu"], 1, "one")
LENGTH = 256


def peak(world: World, folder: Path, hidden: int, layers: int, heads: int, rows: int) -> int:
    """Bytes at the peak of two steps of `gr2 midtrain`, its imports among them.

    The C library would keep what is freed in pieces below 32 MiB, and give new tensors other places.
    """
    sizes = {"hidden_size": hidden, "layers": layers, "heads": heads, "vocab_size": 400, "block_length": LENGTH}
    sizes |= {"per_device_train_batch_size": rows, "passes": 12, "max_steps": 2, "bf16": False}
    sizes |= {"save_strategy": "no", "disable_tqdm": True}
    words = [word for name, value in sizes.items() for word in (f"--{name}", str(value).lower())]
    inputs = ["--items", world.items, "--interactions", world.interactions, "--semantic_ids", world.semantic_ids]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "262144"}
    gr2("midtrain", *inputs, "--output_dir", folder, *words, env=environment)
    return json.loads((folder / "manifest.json").read_text())["peak_memory_bytes"]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # three minutes of computing, many where others compute
def test_peak_memory_of_three_sizes_within_a_fifth(world, tmp_path):
    baseline = peak(world, tmp_path / "smallest", 16, 1, 2, rows=2)
    for hidden, layers, heads, rows in ((256, 6, 4, 8), (512, 8, 8, 4), (768, 10, 12, 2)):
        folder = tmp_path / str(hidden)
        measured = peak(world, folder, hidden, layers, heads, rows) - baseline
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
