"""gr2 sids: embeddings -> semantic_ids.parquet, quantizer.safetensors, quality.json, quality.html.

Trains a quantizer on item vectors and gives every item an ID of its own. `--append FOLDER` keeps an earlier folder's quantizer and
IDs and only gives IDs to items that have none; the quantizer's options are then not looked at.
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
from gr2.files.semantic_ids import IDS, QUANTIZER, RETIRED, write_ids
from gr2.files.tables import read_items
from gr2.options.declare import arg
from gr2.stages.sids_options import LEVELS, Training, Way

if TYPE_CHECKING:
    from gr2.semantic_ids.quantizer import Quantizer

WRITES = ("semantic_ids.parquet", "quality.json")


@dataclass(kw_only=True)
class Config(Training):
    assignment: Way = arg(
        "minimum",
        "collisions take free last codes with the least distortion, random ones (GR2), a further level, or stay",
    )
    min_uniqueness: float = arg(1.0, "fail below this share of unique IDs", least=0, most=1)
    append: str | None = arg(
        None, "an earlier output folder: keep its quantizer and IDs, give IDs to new items only", path=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.assignment == "level" and self.levels == LEVELS:
            raise InputError(
                f"--levels {self.levels}: expected at most {LEVELS - 1} with --assignment level, which adds one"
            )


def run(config: Config) -> None:
    from gr2.reports.semantic_ids import render
    from gr2.semantic_ids.append import append
    from gr2.semantic_ids.fit import checkpoint
    from gr2.semantic_ids.quality import category_paths, quality

    items = read_items(config.items)
    vectors = read_embeddings(config.embeddings, items["item_id"])
    output = Path(config.output_dir)
    if config.append:
        names = items["item_id"].to_list()
        ids = append(config.append, config.embeddings, names, vectors, config.assignment, config.seed)
    else:
        ids = fresh(config, items, vectors)
    quantizer, encoded, final, retired = ids
    facts = {"quantizer": quantizer.kind, "assignment": config.assignment,
             **quality(vectors, quantizer, encoded, final, category_paths(items), config.seed)}  # fmt: skip
    shutil.rmtree(checkpoint(config).parent, ignore_errors=True)
    if facts["uniqueness"] < config.min_uniqueness:
        raise InputError(
            f"{facts['collisions']} of {len(items)} items share their ID: uniqueness {facts['uniqueness']:.4f} is below "
            f"min_uniqueness {config.min_uniqueness}; use more codes or levels, assignment minimum or level, or allow it"
        )
    quantizer.save(output / QUANTIZER)
    write_json(output / "quality.json", facts)
    write_text(output / "quality.html", render(facts, final, vectors))
    if retired is not None:
        write_ids(output / RETIRED, retired["item_id"], np.array(retired["codes"].to_list()), {})
    made_by = {"quantizer": sha256(output / QUANTIZER), "codes": str(quantizer.codebooks.shape[1])}
    write_ids(output / IDS, items["item_id"], final, made_by)
    before, error = facts["uniqueness_before_assignment"], facts["reconstruction_error"]
    print(f"{len(items)} IDs, {facts['uniqueness']:.2%} unique ({before:.1%} before), relative error {error:.3f}")


def fresh(config: Config, items: pl.DataFrame, vectors: np.ndarray) -> tuple["Quantizer", np.ndarray, np.ndarray, None]:
    """A new quantizer, its codes for every item, and the final ones."""
    from gr2.semantic_ids.assign import assign
    from gr2.semantic_ids.fit import fit

    quantizer = fit(config, items, vectors)
    encoded = quantizer.encode(vectors)
    nothing = np.zeros((0, config.levels + (config.assignment == "level")), np.int64)
    return quantizer, encoded, assign(config.assignment, quantizer, vectors, encoded, nothing, config.seed), None
