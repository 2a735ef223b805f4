"""gr2 fit: slates -> a small reranker's folder (the logistic blend; it loads with `gr2 rerank --reranker FOLDER`)."""

from dataclasses import dataclass
from typing import Literal

from gr2.config import arg
from gr2.data.tables import read_items, read_slates
from gr2.errors import InputError


@dataclass
class Config:
    items: str = arg(help="items.parquet")
    interactions: str = arg(help="interactions.parquet; only its pretrain events are read")
    embeddings: str = arg(help="embeddings.safetensors")
    slates: str = arg(help="slates.parquet; its train split is learned")
    output_dir: str = arg(help="the reranker's folder")
    kind: Literal["blend"] = arg("blend", "which small reranker")
    seed: int = arg(0, "of the solver")


def run(config: Config) -> None:
    from gr2.data.features import load_features
    from gr2.rerankers import blend

    slates = read_slates(config.slates, read_items(config.items)["item_id"])
    train = [slate for slate in slates.iter_rows(named=True) if slate["split"] == "train" and any(slate["labels"])]
    if not train:
        raise InputError(f"{config.slates}: no train slate has a relevant candidate")
    weights = blend.fit(
        train, load_features(config.items, config.interactions, config.embeddings), config.output_dir, config.seed
    )
    print(f"{len(train)} slates; weights of the standardised features: "
          + ", ".join(f"{name} {weight:+.2f}" for name, weight in weights.items()))  # fmt: skip
