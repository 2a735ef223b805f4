"""gr2 sids: embeddings -> semantic_ids.parquet, codebooks.safetensors, quality.json."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gr2.artifacts import write_json, write_whole
from gr2.config import arg
from gr2.data.tables import read_items, write_parquet
from gr2.errors import InputError
from gr2.semantic_ids import rkmeans
from gr2.semantic_ids.assign import unique_codes
from gr2.semantic_ids.embed import read_embeddings
from gr2.semantic_ids.quality import quality
from gr2.semantic_ids.tokens import sid_string


@dataclass
class Config:
    items: str = arg(help="items.parquet")
    embeddings: str = arg(help="embeddings.safetensors, rows as in the items file")
    output_dir: str = arg(help="folder for semantic_ids.parquet, codebooks.safetensors, quality.json")
    levels: int = arg(4, "codes an ID has (GR2: 4)")
    codes: int = arg(256, "codes a level has (GR2: 256)")
    min_uniqueness: float = arg(1.0, "fail below this share of unique IDs")
    seed: int = arg(0, "k-means initialisation")


def run(config: Config) -> None:
    from safetensors.numpy import save_file

    items = read_items(config.items)
    vectors = read_embeddings(config.embeddings, items["item_id"])
    if len(vectors) < config.codes:
        raise InputError(f"{config.items}: {len(vectors)} items are fewer than {config.codes} codes; lower --codes")
    codebooks = rkmeans.train(vectors, config.levels, config.codes, config.seed)
    greedy = rkmeans.encode(vectors, codebooks)
    final = unique_codes(vectors, greedy, codebooks)
    facts = quality(vectors, greedy, final, codebooks)
    if facts["uniqueness"] < config.min_uniqueness:
        raise InputError(f"uniqueness {facts['uniqueness']:.4f} is below min_uniqueness {config.min_uniqueness}")
    output = Path(config.output_dir)
    with write_whole(output / "codebooks.safetensors") as aside:
        save_file({"codebooks": codebooks}, aside)
    write_json(output / "quality.json", facts)
    columns = {
        "item_id": items["item_id"],
        "codes": final.tolist(),
        "sid": [sid_string(codes) for codes in final.tolist()],
    }
    write_parquet(pl.DataFrame(columns), output / "semantic_ids.parquet")
    print(f"{len(final)} unique IDs ({facts['uniqueness_before_assignment']:.1%} before the assignment), "
          f"relative error {facts['reconstruction_error']:.3f}")  # fmt: skip
