"""gr2 sids-ablate: every combination of an RQ-VAE's switches, with seeds -> ablation.jsonl, ablation.json, ablation.md.

GR2 (2602.07774) compares its techniques by the uniqueness of IDs with and without each, averaged over all settings of
the others; so does this. A killed run resumes after the last finished combination.
"""

import itertools
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.artifacts import write_json, write_text
from gr2.files.embeddings import read_embeddings
from gr2.files.items import read_items
from gr2.files.partial import PartialFile
from gr2.options.declare import arg
from gr2.semantic_ids.settings import CHECKPOINT, LARGEST_SEED
from gr2.stages.sids_options import QuantizerOptions, RQVAEOptions
from gr2.terminal import show_progress

WRITES = ("ablation.jsonl", "ablation.json")
# What "without" means. `random_last` is not trained: the IDs take random unused last codes or keep their collisions.
OFF = {"kmeans_init": False, "ema": False, "diversity": 0.0, "reset_after": 0, "contrastive": 0.0}
SWITCHES = (*OFF, "random_last")
METRICS = ("uniqueness", "reconstruction_error", "mean_usage", "purity@1", "neighbours@1")


@dataclass(kw_only=True)
class Config(RQVAEOptions, QuantizerOptions):
    output_dir: str = arg(help="folder for ablation.jsonl (a line per combination and seed) and the tables")
    switches: list[str] = arg(
        ["ema", "random_last", "diversity", "reset_after", "contrastive"],
        f"what is switched, out of {', '.join(SWITCHES)}; the others keep their value",
    )
    seeds: list[int] = arg([0, 1, 2], "every combination is trained once with each", least=0, most=LARGEST_SEED)
    diversity: float = arg(0.1, "weight of the diversity loss where it is on", least=0)
    reset_after: int = arg(50, "patience in batches of the dead-code reset where it is on", least=0)
    contrastive: float = arg(0.1, "weight of the contrastive loss where it is on", least=0)

    def __post_init__(self) -> None:
        for name, values in (("switches", self.switches), ("seeds", self.seeds)):
            if len(set(values)) < len(values):
                raise InputError(f"--{name} {' '.join(map(str, values))}: expected each once")
        for name in self.switches:
            if name not in SWITCHES:
                raise InputError(f"--switches {name}: expected some of {', '.join(SWITCHES)}")
            if name in OFF and vars(self)[name] == OFF[name]:
                expected = "expected the value to use when it is on, since --switches names it"
                raise InputError(f"--{name} {OFF[name]}: {expected}")
        self.rqvae()


def run(config: Config) -> None:
    """Reads items.parquet and embeddings.safetensors, and interactions.parquet for the contrastive loss. Writes
    ablation.jsonl, ablation.json and ablation.md. Prints the table.
    """
    # read
    items = read_items(config.items)
    vectors = read_embeddings(config.embeddings, items["item_id"])
    output = Path(config.output_dir)
    partial = PartialFile(output / "ablation.partial", {"switches": config.switches})
    rows = partial.rows

    # model
    trained = [name for name in config.switches if name in OFF]
    done = {(row["seed"], tuple(row[name] for name in trained)) for row in rows}
    plan = list(itertools.product(config.seeds, itertools.product([True, False], repeat=len(trained))))
    for seed, states in show_progress(plan, "ablation", len(plan), "trainings"):
        if (seed, states) not in done:
            new = measure(config, items, vectors, seed, dict(zip(trained, states, strict=True)))
            partial.append(new)
            rows += new

    # write
    effects = {name: compare(rows, name) for name in config.switches}
    table = render_table(effects)
    write_text(output / "ablation.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_json(output / "ablation.json", effects)
    write_text(output / "ablation.md", table)
    partial.path.unlink()
    print(table)


def measure(config: Config, items: pl.DataFrame, vectors: np.ndarray, seed: int, on: dict[str, bool]) -> list[dict]:
    """Trains one combination of switches; a row for it with and, if that is a switch, without the random last level."""
    from gr2.semantic_ids.assign import Assignment, draw_unused
    from gr2.semantic_ids.fit import fit, read_pairs
    from gr2.semantic_ids.quality import measure_quality

    settings = replace(config.rqvae(), **{name: OFF[name] for name in on if not on[name]})
    every = np.arange(len(vectors))
    pairs = read_pairs(config.interactions, items["item_id"], every) if settings.contrastive else None
    checkpoint = Path(config.output_dir) / CHECKPOINT
    quantizer = fit(
        "rqvae", vectors, config.levels, config.codes, seed=seed, rqvae=settings, pairs=pairs, checkpoint=checkpoint
    )
    encoded = quantizer.encode(vectors)
    rows = []
    for random in [True, False] if "random_last" in config.switches else [False]:
        final = draw_unused(encoded, encoded[:0], config.codes, seed) if random else encoded
        quality = measure_quality(Assignment(quantizer, encoded, final), vectors, items, seed)
        row = {"seed": seed, **on, "random_last": random}
        row |= {name: quality[name] for name in ("uniqueness", "reconstruction_error")}
        row["mean_usage"] = float(np.mean(quality["usage"]))
        row["purity@1"] = quality["category_purity"][0]["share"] if quality["category_purity"] else None
        row["neighbours@1"] = quality["neighbour_preservation"][0]["share"]
        rows.append(row)
    shutil.rmtree(checkpoint.parent, ignore_errors=True)
    return rows


def compare(rows: list[dict], switch: str) -> dict:
    """By metric: the mean over all rows with and without the switch, and the seeds' lowest and highest difference."""
    frame, metrics = pl.DataFrame(rows), {}
    for metric in METRICS:
        if frame[metric].null_count():
            continue
        means = frame.group_by("seed", switch).agg(pl.col(metric).mean()).pivot(switch, index="seed", values=metric)
        difference = means["true"] - means["false"]
        metrics[metric] = {
            "with": means["true"].mean(),
            "without": means["false"].mean(),
            "difference": difference.mean(),
            "lowest": difference.min(),
            "highest": difference.max(),
        }
    return metrics


def render_table(effects: dict[str, dict]) -> str:
    """Markdown: a row per switch and metric."""
    lines = ["| switch | metric | with | without | difference [lowest, highest of the seeds] |", "|---" * 5 + "|"]
    for switch, metrics in effects.items():
        for metric, row in metrics.items():
            seeds = f"[{row['lowest']:+.4f}, {row['highest']:+.4f}]"
            means = f"{row['with']:.4f} | {row['without']:.4f} | {row['difference']:+.4f}"
            lines.append(f"| {switch} | {metric} | {means} {seeds} |")
    return "\n".join(lines) + "\n"
