"""gr2 sids: embeddings -> semantic_ids.parquet, quantizer.safetensors, quality.json, quality.html.

Trains a quantizer on item vectors and gives every item an ID of its own. `--append FOLDER` keeps an earlier folder's quantizer and
IDs and only gives IDs to items that have none; the quantizer's options are then not looked at.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from gr2.artifacts import sha256, write_json, write_text
from gr2.config import arg
from gr2.data.tables import read_interactions, read_items, require_columns, write_parquet
from gr2.errors import InputError
from gr2.semantic_ids.embeddings import read_embeddings
from gr2.semantic_ids.settings import Settings
from gr2.semantic_ids.tokens import sid_string

if TYPE_CHECKING:
    from gr2.semantic_ids.quantizer import Quantizer


@dataclass(kw_only=True)
class Config(Settings):
    items: str = arg(help="items.parquet")
    embeddings: str = arg(help="embeddings.safetensors, rows as in the items file")
    output_dir: str = arg(help="folder for semantic_ids.parquet, quantizer.safetensors, quality.json, quality.html")
    quantizer: Literal["rkmeans", "balanced", "additive", "rqvae"] = arg(
        "rkmeans", "residual k-means, with clusters of equal size, with codebooks refitted together, or RQ-VAE"
    )
    levels: int = arg(4, "codes an ID has (GR2: 4)")
    codes: int = arg(256, "codes a level has (GR2: 256)")
    beam: int = arg(1, "width of the search for a vector's codes; 1: the nearest code, level by level")
    train_sample: int | None = arg(None, "train on so many vectors, drawn under the seed; none: on all")
    assignment: Literal["minimum", "random", "level", "none"] = arg(
        "minimum",
        "collisions take free last codes with the least distortion, random ones (GR2), a further level, or stay",
    )
    min_uniqueness: float = arg(1.0, "fail below this share of unique IDs")
    interactions: str | None = arg(None, "contrastive: interactions.parquet of `gr2 prepare`; only pretrain events")
    append: str | None = arg(None, "an earlier output folder: keep its quantizer and IDs, give IDs to new items only")
    seed: int = arg(0, "of everything random")


def run(config: Config) -> None:
    items = read_items(config.items)
    vectors = read_embeddings(config.embeddings, items["item_id"])
    output = Path(config.output_dir)
    quantizer, encoded, final, retired = (
        append(config, items, vectors) if config.append else fresh(config, items, vectors)
    )
    facts = measured(config, items, vectors, quantizer, encoded, final)
    shutil.rmtree(checkpoint(config).parent, ignore_errors=True)
    if facts["uniqueness"] < config.min_uniqueness:
        raise InputError(
            f"{facts['collisions']} of {len(items)} items share their ID: uniqueness {facts['uniqueness']:.4f} is below "
            f"min_uniqueness {config.min_uniqueness}; use more codes or levels, assignment minimum or level, or allow it"
        )
    from gr2.semantic_ids.report import render

    quantizer.save(output / "quantizer.safetensors")
    write_json(output / "quality.json", facts)
    write_text(output / "quality.html", render(facts, final, vectors))
    if retired is not None:
        write_ids(output / "retired_ids.parquet", retired["item_id"], np.array(retired["codes"].to_list()), {})
    write_ids(
        output / "semantic_ids.parquet",
        items["item_id"],
        final,
        {"quantizer": sha256(output / "quantizer.safetensors")},
    )
    before, error = facts["uniqueness_before_assignment"], facts["reconstruction_error"]
    print(f"{len(items)} IDs, {facts['uniqueness']:.2%} unique ({before:.1%} before), relative error {error:.3f}")


def fresh(config: Config, items: pl.DataFrame, vectors: np.ndarray) -> tuple["Quantizer", np.ndarray, np.ndarray, None]:
    """A new quantizer, its codes for every item, and the final ones."""
    from gr2.semantic_ids.assign import assign

    quantizer = train(config, items, vectors)
    encoded = quantizer.encode(vectors)
    nothing = np.zeros((0, config.levels + (config.assignment == "level")), np.int64)
    return quantizer, encoded, assign(config.assignment, quantizer, vectors, encoded, nothing, config.seed), None


def append(
    config: Config, items: pl.DataFrame, vectors: np.ndarray
) -> tuple["Quantizer", np.ndarray, np.ndarray, pl.DataFrame | None]:
    """The earlier quantizer, its codes, IDs as they were and new ones for new items; and the IDs of items that are gone."""
    from gr2.semantic_ids.append import check_fit, read_earlier, refuse_reuse
    from gr2.semantic_ids.assign import assign

    quantizer, given = read_earlier(config.append)
    item_ids = items["item_id"].to_list()
    levels = len(quantizer.codebooks) + (config.assignment == "level")
    check_fit(config.embeddings, vectors, item_ids, quantizer, given, levels)
    number = {item_id: n for n, item_id in enumerate(given.item_ids)}
    old = np.array([item_id in number for item_id in item_ids])
    encoded, final = quantizer.encode(vectors), np.zeros((len(items), levels), np.int64)
    final[old] = given.codes[[number[item_id] for item_id in item_ids if item_id in number]]
    if not old.all():
        final[~old] = assign(config.assignment, quantizer, vectors[~old], encoded[~old], given.codes, config.seed)
    refuse_reuse(final[~old], given)
    gone = sorted(set(given.item_ids) - set(item_ids))
    retired = pl.DataFrame({"item_id": gone, "codes": given.codes[[number[item_id] for item_id in gone]].tolist()})
    return quantizer, encoded, final, retired if gone else None


def train(config: Config, items: pl.DataFrame, vectors: np.ndarray) -> "Quantizer":
    from gr2.semantic_ids import additive, rkmeans, rqvae_train
    from gr2.semantic_ids.quantizer import Quantizer

    rows, size = np.arange(len(vectors)), min(len(vectors), config.train_sample or len(vectors))
    if size < config.codes:
        raise InputError(f"{config.items}: {size} items to train on are fewer than {config.codes} codes; lower --codes")
    if size < len(rows):
        rows = np.sort(np.random.default_rng(config.seed).choice(rows, size, replace=False))
    shape = (config.levels, config.codes)
    if config.quantizer == "rqvae":
        pairs = co_interacted(config, items, rows) if config.contrastive else None
        model = rqvae_train.train(vectors[rows], *shape, config, config.seed, pairs, checkpoint(config))
        return Quantizer("rqvae", model.codebooks.detach().numpy(), config.beam, model.network)
    trainers = {"rkmeans": rkmeans.train, "balanced": rkmeans.train_balanced, "additive": additive.train}
    codebooks = trainers[config.quantizer](vectors[rows], *shape, config.seed)
    return Quantizer(config.quantizer, codebooks, config.beam)


def co_interacted(config: Config, items: pl.DataFrame, rows: np.ndarray) -> np.ndarray:
    """int64 [p, 2]: places in `rows`, item rows that are trained on, of items that a user took one after the other, both at
    pretrain positions: later ones would leak.
    """
    if not config.interactions:
        raise InputError("contrastive: expected --interactions, the file of `gr2 prepare`")
    events = read_interactions(config.interactions, items["item_id"])
    require_columns(events, config.interactions, ("split", "position"))
    place = pl.DataFrame({"item_id": items["item_id"][rows], "place": np.arange(len(rows))})
    past = (
        events.filter(pl.col("split") == "pretrain").join(place, on="item_id", how="left").sort("user_id", "position")
    )
    pairs = past.select("place", pl.col("place").shift(-1).over("user_id").alias("next")).drop_nulls()
    if pairs.is_empty():
        raise InputError(f"{config.interactions}: expected users with two pretrain events, found none")
    return pairs.to_numpy()


def checkpoint(config: Config) -> Path:
    return Path(config.output_dir) / "checkpoint-rqvae" / "state.safetensors"


def measured(
    config: Config, items: pl.DataFrame, vectors: np.ndarray, quantizer: "Quantizer", encoded: np.ndarray, final: np.ndarray
) -> dict:  # fmt: skip
    """The content of quality.json."""
    from gr2.semantic_ids.quality import quality

    categories = None
    if "categories" in items.columns and items["categories"].list.len().sum():
        categories = [" > ".join(path) for path in items["categories"].to_list()]
    facts = quality(vectors, quantizer, encoded, final, categories, config.seed)
    return {"quantizer": quantizer.kind, "assignment": config.assignment, **facts}


def write_ids(path: Path, item_ids: pl.Series, codes: np.ndarray, metadata: dict[str, str]) -> None:
    rows = codes.tolist()
    write_parquet(
        pl.DataFrame({"item_id": item_ids, "codes": rows, "sid": [sid_string(row) for row in rows]}), path, metadata
    )
