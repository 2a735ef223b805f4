"""gr2 sids-ablate: every combination of an RQ-VAE's switches, with seeds -> ablation.jsonl, ablation.json, ablation.md.

GR2 (2602.07774) compares its techniques by the uniqueness of IDs with and without each, averaged over all settings of the
others; so does this. A killed run goes on behind the last finished combination.
"""

import itertools
import json
import shutil
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from gr2.errors import InputError
from gr2.files.artifacts import append_lines, read_appended, write_json, write_text
from gr2.files.embeddings import read_embeddings
from gr2.files.tables import read_items
from gr2.options.declare import arg
from gr2.stages.sids_options import LEVELS, SEED, Settings, Training, check_rqvae

# What "without" means. `random_last` is not trained: the IDs take random unused last codes or keep their collisions.
OFF = {"kmeans_init": False, "ema": False, "diversity": 0.0, "reset_after": 0, "contrastive": 0.0}
SWITCHES = (*OFF, "random_last")
METRICS = ("uniqueness", "reconstruction_error", "mean_usage", "purity@1", "neighbours@1")

WRITES = ("ablation.jsonl", "ablation.json")


@dataclass(kw_only=True)
class Config(Settings):
    items: str = arg(help="items.parquet", path="items.parquet")
    embeddings: str = arg(help="embeddings.safetensors, rows as in the items file", path="embeddings.safetensors")
    interactions: str | None = arg(
        None, "contrastive: interactions.parquet of `gr2 prepare`; only pretrain events", path="interactions.parquet"
    )
    output_dir: str = arg(help="folder for ablation.jsonl (a line per combination and seed) and the tables")
    switches: list[str] = arg(
        ["ema", "random_last", "diversity", "reset_after", "contrastive"],
        f"what is switched, out of {', '.join(SWITCHES)}; the others keep their value",
    )
    seeds: list[int] = arg([0, 1, 2], "every combination is trained once with each", least=0, most=SEED)
    levels: int = arg(4, "codes an ID has (GR2: 4)", least=1, most=LEVELS)
    codes: int = arg(256, "codes a level has (GR2: 256)", least=2)
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
                raise InputError(
                    f"--{name} {OFF[name]}: expected the value it has where it is on, as --switches names it"
                )
        if self.contrastive and not self.interactions:
            raise InputError(f"--contrastive {self.contrastive}: expected --interactions, the file of `gr2 prepare`")
        check_rqvae(self)


def run(config: Config) -> None:
    items = read_items(config.items)
    vectors = read_embeddings(config.embeddings, items["item_id"])
    trained = [name for name in config.switches if name in OFF]
    plan = list(itertools.product(config.seeds, itertools.product([True, False], repeat=len(trained))))
    partial = Path(config.output_dir) / "ablation.partial"
    partial.parent.mkdir(parents=True, exist_ok=True)
    rows = read_appended(partial)
    done = {(row["seed"], tuple(row[name] for name in trained)) for row in rows}
    for seed, chosen in tqdm(plan, "ablation", unit="training", disable=None):
        if (seed, chosen) not in done:
            new = measure(config, items, vectors, seed, dict(zip(trained, chosen, strict=True)))
            append_lines(partial, [json.dumps(row) for row in new])
            rows += new
    effects = {name: effect(rows, name) for name in config.switches}
    write_json(partial.with_name("ablation.json"), effects)
    write_text(partial.with_name("ablation.md"), table(effects))
    partial.replace(partial.with_name("ablation.jsonl"))
    print(table(effects))


def measure(config: Config, items: pl.DataFrame, vectors: np.ndarray, seed: int, chosen: dict[str, bool]) -> list[dict]:
    """Trains one combination; a row for it with and, where that is a switch, without the random last level."""
    from gr2.semantic_ids.assign import random_unused
    from gr2.semantic_ids.fit import checkpoint, fit
    from gr2.semantic_ids.quality import category_paths, quality

    shared = {field.name: vars(config)[field.name] for field in fields(Training) if field.name in vars(config)}
    off = {name: OFF[name] for name, on in chosen.items() if not on}
    single = Training(**(shared | {"quantizer": "rqvae", "seed": seed} | off))
    quantizer = fit(single, items, vectors)
    encoded = quantizer.encode(vectors)
    rows = []
    for random in [True, False] if "random_last" in config.switches else [False]:
        final = random_unused(encoded, encoded[:0], config.codes, seed) if random else encoded
        facts = quality(vectors, quantizer, encoded, final, category_paths(items), seed)
        rows.append({
            "seed": seed, **chosen, "random_last": random,
            "uniqueness": facts["uniqueness"],
            "reconstruction_error": facts["reconstruction_error"],
            "mean_usage": float(np.mean(facts["usage"])),
            "purity@1": facts["category_purity"][0]["share"] if facts["category_purity"] else None,
            "neighbours@1": facts["neighbour_preservation"][0]["share"],
        })  # fmt: skip
    shutil.rmtree(checkpoint(single).parent, ignore_errors=True)
    return rows


def effect(rows: list[dict], switch: str) -> dict:
    """By metric: the mean over all rows with and without the switch, and the lowest and highest difference of any one seed."""
    frame, found = pl.DataFrame(rows), {}
    for metric in METRICS:
        if frame[metric].null_count():
            continue
        means = frame.group_by("seed", switch).agg(pl.col(metric).mean()).pivot(switch, index="seed", values=metric)
        difference = means["true"] - means["false"]
        found[metric] = {"with": means["true"].mean(), "without": means["false"].mean(),
                         "difference": difference.mean(), "lowest": difference.min(), "highest": difference.max()}  # fmt: skip
    return found


def table(effects: dict[str, dict]) -> str:
    """Markdown: a row per switch and metric."""
    lines = [
        "| switch | metric | with | without | difference [lowest, highest of the seeds] |",
        "|---|---|---|---|---|",
    ]
    for switch, found in effects.items():
        for metric, row in found.items():
            lines.append(f"| {switch} | {metric} | {row['with']:.4f} | {row['without']:.4f} | {row['difference']:+.4f} "
                         f"[{row['lowest']:+.4f}, {row['highest']:+.4f}] |")  # fmt: skip
    return "\n".join(lines) + "\n"
