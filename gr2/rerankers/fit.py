"""gr2 fit: slates -> a small reranker's folder, for `gr2 rerank --reranker FOLDER`.

`blend` is a logistic regression on what a production reranker knows of a candidate; `lambdamart` boosted trees on the same;
`prm` a small listwise Transformer; `glorank` writes a list of semantic IDs: trained on reference lists first, then, with
--model_name_or_path, by reinforcement.
"""

import random
from dataclasses import dataclass
from typing import Literal

from gr2.config import arg
from gr2.data.tables import read_items, read_slates
from gr2.errors import InputError


@dataclass
class Config:
    items: str = arg(help="items.parquet")
    slates: str = arg(
        help="slates.parquet; its train split is learned, training stops by its valid split, or by a tenth of the users"
    )
    output_dir: str = arg(help="the reranker's folder")
    kind: Literal["blend", "lambdamart", "prm", "glorank"] = arg("blend", "which small reranker")
    interactions: str | None = arg(
        None, "blend, lambdamart, prm: interactions.parquet; only its pretrain events are read"
    )
    embeddings: str | None = arg(None, "blend, lambdamart, prm: embeddings.safetensors")
    semantic_ids: str | None = arg(None, "glorank: semantic_ids.parquet")
    features: bool = arg(False, "prm: reads the blend's features too, and adds the pre-ranker's score to its own")
    space: Literal["global", "place", "pointer"] = arg(
        "global", "glorank: what an action is (gr2/rerankers/glorank/model.py)"
    )
    list_size: int = arg(6, "glorank: items of a list; lambdamart: the length at which its NDCG is taken")
    shuffle_candidates: bool = arg(True, "glorank: learn each slate in a new order of its candidates every time")
    model_name_or_path: str | None = arg(None, "glorank: go on from this folder with reinforcement learning")
    group: int = arg(8, "glorank, reinforcement: lists drawn for each slate")
    hidden_size: int = arg(64, "networks: width")
    layers: int = arg(1, "networks: Transformer layers; glorank: of the encoder")
    dropout: float = arg(0.2, "networks: of inputs, attention and layers")
    learning_rate: float = arg(1e-3, "networks: AdamW's")
    batch_size: int = arg(32, "networks: slates a step")
    epochs: int = arg(60, "networks: at most so many")
    patience: int = arg(8, "networks: epochs without a better NDCG on the valid split after which it stops")
    seed: int = arg(0, "of the solver; elsewhere of the start, the order and dropout")


def run(config: Config) -> None:
    item_ids = read_items(config.items)["item_id"]
    slates = read_slates(config.slates, item_ids)
    labelled = [slate for slate in slates.iter_rows(named=True) if any(label > 0 for label in slate["labels"])]
    train, valid = ([slate for slate in labelled if slate["split"] == split] for split in ("train", "valid"))
    if not train:
        raise InputError(f"{config.slates}: no train slate has a relevant candidate")
    if not valid and config.kind != "blend":
        train, valid = by_users(train, config.seed)
    if config.kind == "glorank":
        fit_glorank(config, train, valid)
        return
    if not config.interactions or not config.embeddings:
        raise InputError(f"fit {config.kind}: expected --interactions and --embeddings")
    from gr2.data.features import load_features

    features = load_features(config.items, config.interactions, config.embeddings)
    if config.kind == "prm":
        from gr2.rerankers import prm_train

        prm_train.fit(train, valid, features, config)
    elif config.kind == "lambdamart":
        from gr2.rerankers import lambdamart

        shares = lambdamart.fit(train, valid, features, config)
        print("shares of the gain: " + ", ".join(f"{name} {share:.2f}" for name, share in shares.items()))
    else:
        from gr2.rerankers import blend

        weights = blend.fit(train, features, config.output_dir, config.seed)
        print(f"{len(train)} slates; weights of the standardised features: "
              + ", ".join(f"{name} {weight:+.2f}" for name, weight in weights.items()))  # fmt: skip


def fit_glorank(config: Config, learned: list[dict], judged: list[dict]) -> None:
    from gr2.data.catalogue import read_catalogue
    from gr2.rerankers.glorank import train

    if not config.semantic_ids:
        raise InputError("fit glorank: expected --semantic_ids")
    if config.list_size < 1 or config.group < 2:
        raise InputError(f"list_size {config.list_size}, group {config.group}: expected at least 1, and 2")
    train.fit(learned, judged, read_catalogue(config.items, config.semantic_ids), config)


def by_users(slates: list[dict], seed: int) -> tuple[list[dict], list[dict]]:
    """(nine tenths, a tenth) of the users, drawn at random, with all slates of theirs."""
    users = sorted({slate["user_id"] for slate in slates})
    if len(users) < 2:
        raise InputError(
            "expected labelled slates of split valid, or train slates of two users, to stop the training by"
        )
    chosen = set(random.Random(seed).sample(users, max(1, len(users) // 10)))
    return ([slate for slate in slates if slate["user_id"] not in chosen],
            [slate for slate in slates if slate["user_id"] in chosen])  # fmt: skip
