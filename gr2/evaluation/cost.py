"""What a ranking cost: parameters, seconds of training, milliseconds and tokens a slate.

Told by the manifests beside the files, so by what was run, not by what was asked. Training counts every stage from
whose files the reranker was made (its own, its traces, embeddings, semantic IDs, ...), but none of SHARED, which all
systems share. A stage's seconds are those of the run that finished it. A fusion costs what it and its members do.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from gr2.evaluation.kinds import FUSED_TREES, FUSION, read_members
from gr2.evaluation.significance import number
from gr2.evaluation.systems import mean_of_known
from gr2.files.artifacts import MANIFEST, files_below, read_json, read_manifest, stage_of
from gr2.files.rankings import TIMING_FILE
from gr2.files.slates import SLATE_STAGES
from gr2.rerankers import blend, lambdamart, rules

WEIGHTS, TREES = (blend.FILE, FUSION), (lambdamart.FILE, FUSED_TREES)
SHARED = ("prepare", *SLATE_STAGES, "simulate-clicks", "facts")  # and with slates what made them


@dataclass
class Training:
    """`stages`: seconds by folder, the reranker's own first; `whole`: whether every stage's record was found."""

    stages: dict[str, float] = field(default_factory=dict)
    whole: bool = True

    def follow(self, inputs: dict[str, str]) -> None:
        """Adds the stages that wrote these files, as long as the files are still the same ones."""
        for file, digest in inputs.items():
            folder = stage_of(file)
            if folder is None:
                self.whole &= Path(file).exists()  # a prompt's file has no stage
                continue
            manifest = read_manifest(folder / MANIFEST)
            if manifest["outputs"].get(str(Path(file).relative_to(folder))) != digest:
                self.whole = False
            elif str(folder) not in self.stages and manifest["stage"] not in SHARED:
                self.stages[str(folder)] = manifest["seconds"]
                self.follow(manifest["inputs"])


def measure_costs(files: dict[str, list[str]], rankings: dict[str, list[pl.DataFrame]]) -> dict[str, dict]:
    """By system, the means over seeds of `measure_cost`; `stages` are the first seed's."""
    costs = {}
    for name, paths in files.items():
        seeds = [measure_cost(Path(path), frame) for path, frame in zip(paths, rankings[name], strict=True)]
        figures = [key for key in seeds[0] if key not in ("stages", "whole", "hardware")]
        costs[name] = {key: mean_of_known([seed[key] for seed in seeds]) for key in figures}
        costs[name] |= {"stages": seeds[0]["stages"], "whole": all(seed["whole"] for seed in seeds)}
        machines = dict.fromkeys(seed["hardware"] for seed in seeds if seed["hardware"])
        costs[name]["hardware"] = "; ".join(machines) or None
    return costs


def measure_cost(path: Path, frame: pl.DataFrame) -> dict:
    """parameters; own_seconds and training_seconds; ms, prompt_tokens and completion_tokens a slate; p50_ms and p99_ms
    of a slate alone; batch_size; hardware; None: not known.
    """
    manifest = read_json(path.parent / MANIFEST) if (path.parent / MANIFEST).exists() else {}
    reranker = manifest["config"]["reranker"] if manifest.get("stage") == "rerank" else None
    training = Training()
    if reranker in rules.NAMES:
        parameters = last = total = 0
    elif reranker is None:
        parameters = last = total = None
    else:
        parameters = count_parameters(reranker)
        training.follow({file: sha for file, sha in manifest["inputs"].items() if Path(file).is_relative_to(reranker)})
        last = training.stages.get(str(Path(reranker)))
        total = sum(training.stages.values()) if last is not None else None
    return {
        "parameters": parameters,
        "own_seconds": last,
        "training_seconds": total,
        **read_times(path, frame),
        "prompt_tokens": column_mean(frame, "prompt_tokens"),
        "completion_tokens": column_mean(frame, "completion_tokens"),
        "stages": training.stages,
        "whole": training.whole,
        "hardware": name_hardware(manifest),
    }


def count_parameters(folder: str | Path) -> int | None:
    """A reranker's learned numbers: weights, of trees thresholds and leaves; None for a folder without any."""
    folder = Path(folder)
    blends = [len(read_json(folder / name).get("weights", ())) for name in WEIGHTS if (folder / name).exists()]
    trees = [count_splits(folder / name) for name in TREES if (folder / name).exists()]
    networks = [count_weights(file) for file in files_below(folder) if file.suffix == ".safetensors"]
    members = [count_parameters(member) or 0 for member in read_members(folder)]
    return sum([*blends, *trees, *networks, *members]) or None


def count_splits(file: Path) -> int:
    """Thresholds and leaves of LightGBM's trees."""
    leaves = [line.partition("=")[2] for line in file.read_text().splitlines() if line.startswith("num_leaves=")]
    return sum(2 * int(count) - 1 for count in leaves)


def count_weights(file: Path) -> int:
    from safetensors import safe_open

    with safe_open(file, "numpy") as tensors:
        return sum(int(np.prod(tensors.get_slice(name).get_shape())) for name in tensors.keys())  # noqa: SIM118  (not iterable)


def read_times(path: Path, frame: pl.DataFrame) -> dict:
    """ms, wall-clock time a slate in batches: of the answers themselves, else of the whole run beside the file; what
    else timing.json says.
    """
    timing = read_json(path.parent / TIMING_FILE) if (path.parent / TIMING_FILE).exists() else {}
    ms = column_mean(frame, "latency_ms")
    others = {key: timing.get(key) for key in ("p50_ms", "p99_ms", "batch_size")}
    return {"ms": timing.get("ms_a_slate") if ms is None else ms} | others


def name_hardware(manifest: dict) -> str | None:
    """`Intel(R) Xeon(R) Processor, 1 thread`, and GPUs by their names."""
    if "hardware" not in manifest:
        return None
    found, threads = manifest["hardware"], manifest["threads"]
    gpus = [gpu.partition(",")[0] for gpu in found["gpus"]]
    return ", ".join([found["cpu"], f"{threads} thread{'s' if threads > 1 else ''}", *gpus])


def column_mean(frame: pl.DataFrame, name: str) -> float | None:
    return number(frame[name].mean()) if name in frame.columns and frame[name].count() else None


def find_frontier(values: dict[str, float], costs: dict[str, dict], floor: float) -> list[str]:
    """The systems that are better than every one that takes less time, and than `floor`, which is free; cheapest first.

    values: larger is better; a system without a time is on no frontier.
    """
    frontier, best = [], floor
    timed = [name for name in costs if costs[name]["ms"] is not None]
    for name in sorted(timed, key=lambda name: (costs[name]["ms"], -values[name])):
        if values[name] > best:
            frontier.append(name)
            best = values[name]
    return frontier
