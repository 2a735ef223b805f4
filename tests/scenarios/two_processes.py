"""What each of two gloo processes on the CPU does; with `python -m`, the jobs of a JSON file.

accelerate shards on accelerators alone: with ACCELERATE_USE_FSDP on a CPU it starts DDP, without a word
(AcceleratorState takes the plugin under MULTI_GPU and the like of it). torch's FSDP2 runs with gloo, too, so accelerate
is told that this is MULTI_GPU. All else, in gr2, TRL, transformers, accelerate and torch, is as it is on GPUs.
"""

import json
import os
import sys
from pathlib import Path

import torch
from accelerate import DistributedType, PartialState
from accelerate.state import AcceleratorState

from gr2.runner.stage import run_stage

own_init = AcceleratorState.__init__


def do_jobs(jobs: list[tuple[str, list[str]]]) -> None:
    """Runs (stage, words), one after the other; skips one that has its manifest, as `gr2 run` does."""
    # Several processes on a CPU load an optimizer's state to "cpu:0", "cpu:1", ..., which torch knows no way to.
    torch.serialization.register_package(0, lambda _: None, lambda storage, place: storage if "cpu:" in place else None)
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        AcceleratorState.__init__ = init_as_on_gpus
    for stage, words in jobs:
        if not Path(words[words.index("--output_dir") + 1], "manifest.json").exists():
            run_stage(stage, words)


def init_as_on_gpus(self: AcceleratorState, *args, **kwargs) -> None:
    if not AcceleratorState._shared_state:
        PartialState(cpu=True)
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    own_init(self, *args, **kwargs)
    assert self.distributed_type == DistributedType.FSDP


if __name__ == "__main__":
    do_jobs(json.loads(Path(sys.argv[1]).read_text()))
