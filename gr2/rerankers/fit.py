"""gr2 fit: slates -> a small reranker's folder, for `gr2 rerank --reranker FOLDER`.

`blend` is a logistic regression on what a production reranker knows of a candidate; `prm` a small listwise Transformer.
"""

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
    slates: str = arg(help="slates.parquet; its train split is learned, prm stops by its valid split")
    output_dir: str = arg(help="the reranker's folder")
    kind: Literal["blend", "prm"] = arg("blend", "which small reranker")
    features: bool = arg(False, "prm: reads the blend's features too, and adds the pre-ranker's score to its own")
    hidden_size: int = arg(64, "prm: width")
    layers: int = arg(1, "prm: Transformer layers")
    dropout: float = arg(0.2, "prm: of inputs, attention and layers")
    learning_rate: float = arg(1e-3, "prm: AdamW's")
    batch_size: int = arg(32, "prm: slates a step")
    epochs: int = arg(60, "prm: at most so many")
    patience: int = arg(8, "prm: epochs without a better NDCG@5 on the valid split after which it stops")
    seed: int = arg(0, "of the solver; prm: of the start, the order and dropout")


def run(config: Config) -> None:
    from gr2.data.features import load_features

    slates = read_slates(config.slates, read_items(config.items)["item_id"])
    labelled = [slate for slate in slates.iter_rows(named=True) if any(label > 0 for label in slate["labels"])]
    train, valid = ([slate for slate in labelled if slate["split"] == split] for split in ("train", "valid"))
    if not train:
        raise InputError(f"{config.slates}: no train slate has a relevant candidate")
    features = load_features(config.items, config.interactions, config.embeddings)
    if config.kind == "prm":
        from gr2.rerankers import prm_train

        prm_train.fit(train, valid, features, config)
    else:
        from gr2.rerankers import blend

        weights = blend.fit(train, features, config.output_dir, config.seed)
        print(f"{len(train)} slates; weights of the standardised features: "
              + ", ".join(f"{name} {weight:+.2f}" for name, weight in weights.items()))  # fmt: skip
