"""gr2 sids: embeddings -> semantic_ids.parquet, quantizer.safetensors, quality.json, quality.html.

Trains a quantizer on item vectors and gives each item a unique ID. `--append FOLDER` keeps an earlier folder's
quantizer and IDs and only gives IDs to items that have none; the quantizer's options are then ignored.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.artifacts import sha256, write_json, write_text
from gr2.files.embeddings import read_embeddings
from gr2.files.items import read_items
from gr2.files.semantic_ids import IDS, QUANTIZER, RETIRED, write_semantic_ids
from gr2.files.sid_tokens import MOST_LEVELS
from gr2.options.declare import arg
from gr2.semantic_ids.settings import CHECKPOINT, LARGEST_SEED, AssignmentKind, QuantizerKind
from gr2.stages.sids_options import QuantizerOptions, RQVAEOptions

if TYPE_CHECKING:
    from gr2.semantic_ids.assign import Assignment

WRITES = ("semantic_ids.parquet", "quality.json")


@dataclass(kw_only=True)
class Config(RQVAEOptions, QuantizerOptions):
    output_dir: str = arg(help="folder for what the stage writes")
    quantizer: QuantizerKind = arg(
        "rkmeans",
        "rkmeans: residual k-means; balanced: clusters of equal size; additive: codebooks refitted together; rqvae",
    )
    beam: int = arg(1, "width of the search for a vector's codes; 1: the nearest code, level by level", least=1)
    train_sample: int | None = arg(None, "train on N vectors, drawn under the seed; none: on all", least=1)
    assignment: AssignmentKind = arg(
        "minimum",
        "colliding items get the nearest free last codes, random ones (GR2), one more level of codes, or nothing",
    )
    min_uniqueness: float = arg(1.0, "fail below this share of unique IDs", least=0, most=1)
    append: str | None = arg(None, "an earlier output folder, whose IDs are kept; only new items get some", path=True)
    seed: int = arg(0, "random seed", least=0, most=LARGEST_SEED)

    def __post_init__(self) -> None:
        if self.quantizer == "rqvae":
            self.rqvae()
        if self.assignment == "level" and self.levels == MOST_LEVELS:
            raise InputError(
                f"--levels {self.levels}: expected at most {MOST_LEVELS - 1} with --assignment level, which adds one"
            )


def run(config: Config) -> None:
    """Reads items.parquet and embeddings.safetensors, with `append` an earlier output folder too. Writes
    semantic_ids.parquet, quantizer.safetensors, quality.json and quality.html, and retired_ids.parquet where items have
    left the catalogue. Prints uniqueness and error.
    """
    from gr2.reports.semantic_ids import render
    from gr2.semantic_ids.append import append
    from gr2.semantic_ids.quality import measure_quality

    # read
    items = read_items(config.items)
    vectors = read_embeddings(config.embeddings, items["item_id"])
    output = Path(config.output_dir)

    # model
    if config.append:
        item_ids = items["item_id"].to_list()
        ids = append(config.append, config.embeddings, item_ids, vectors, config.assignment, config.seed)
    else:
        ids = train_and_assign(config, items["item_id"], vectors)
    quality = measure_quality(ids, vectors, items, config.seed)
    shutil.rmtree((output / CHECKPOINT).parent, ignore_errors=True)
    if quality["uniqueness"] < config.min_uniqueness:
        raise InputError(
            f"{quality['collisions']} of {len(items)} items share their ID: uniqueness {quality['uniqueness']:.4f} is "
            f"below --min_uniqueness {config.min_uniqueness}; use more codes or levels, or another --assignment"
        )

    # write
    quality = {"quantizer": ids.quantizer.kind, "assignment": config.assignment, **quality}
    ids.quantizer.save(output / QUANTIZER)
    write_json(output / "quality.json", quality)
    write_text(output / "quality.html", render(quality, ids.final, vectors))
    if ids.retired is not None:
        codes = np.array(ids.retired["codes"].to_list())
        write_semantic_ids(output / RETIRED, ids.retired["item_id"], codes, {})
    made_by = {"quantizer": sha256(output / QUANTIZER), "codes": str(ids.quantizer.codebooks.shape[1])}
    write_semantic_ids(output / IDS, items["item_id"], ids.final, made_by)
    before, error = quality["uniqueness_before_assignment"], quality["reconstruction_error"]
    print(f"{len(items)} IDs, {quality['uniqueness']:.2%} unique ({before:.1%} before), relative error {error:.3f}")


def train_and_assign(config: Config, item_ids: pl.Series, vectors: np.ndarray) -> "Assignment":
    """A new quantizer, and IDs for all items."""
    from gr2.semantic_ids.assign import Assignment, assign
    from gr2.semantic_ids.fit import draw_rows, fit, read_pairs

    rows = draw_rows(len(vectors), config.train_sample, config.seed)
    options = {"beam": config.beam, "seed": config.seed}
    if config.quantizer == "rqvae":
        options |= {"rqvae": config.rqvae(), "checkpoint": Path(config.output_dir) / CHECKPOINT}
        if config.contrastive:
            options["pairs"] = read_pairs(config.interactions, item_ids, rows)
    quantizer = fit(config.quantizer, vectors[rows], config.levels, config.codes, **options)
    encoded = quantizer.encode(vectors)
    taken = np.zeros((0, config.levels + (config.assignment == "level")), np.int64)
    final = assign(config.assignment, quantizer, vectors, encoded, taken, config.seed)
    return Assignment(quantizer, encoded, final)
