"""gr2 fit: slates -> a small reranker's folder, for `gr2 rerank --reranker FOLDER`.

`blend` is a logistic regression on what a production reranker knows of a candidate; `lambdamart` boosted trees on the same;
`prm` a small listwise Transformer. The others write lists of semantic IDs: `glorank` is trained on reference lists first, then,
with --model_name_or_path, by reinforcement; `evaluator` learns what lists are worth; `degre` and `goalrank` learn from it to
write good ones.
"""

import math
import random
from dataclasses import dataclass
from typing import Literal

from gr2.config import arg
from gr2.data.tables import read_items, read_slates
from gr2.errors import InputError

LISTS = ("glorank", "evaluator", "degre", "goalrank")


@dataclass
class Config:
    items: str = arg(help="items.parquet", path=True)
    slates: str = arg(
        help="slates.parquet; its train split is learned, training stops by its valid split, or by a tenth of the users",
        path=True,
    )
    output_dir: str = arg(help="the reranker's folder")
    kind: Literal["blend", "lambdamart", "prm", "glorank", "evaluator", "degre", "goalrank"] = arg(
        "blend", "which small reranker"
    )
    interactions: str | None = arg(
        None, "blend, lambdamart, prm: interactions.parquet; only its pretrain events are read", path=True
    )
    embeddings: str | None = arg(None, "blend, lambdamart, prm: embeddings.safetensors", path=True)
    semantic_ids: str | None = arg(None, "those that write lists: semantic_ids.parquet", path=True)
    features: bool = arg(False, "prm: reads the blend's features too, and adds the pre-ranker's score to its own")
    space: Literal["global", "place", "pointer"] = arg(
        "global", "glorank: what an action is (gr2/rerankers/listwise/network.py)"
    )
    list_size: int = arg(
        6, "those that write lists: items of a list; lambdamart: the length at which its NDCG is taken"
    )
    history: int = arg(50, "those that write lists: items of a user's history that are read; 0: none")
    shuffle_candidates: bool = arg(True, "glorank: learn each slate in a new order of its candidates every time")
    model_name_or_path: str | None = arg(None, "glorank: go on from this folder with reinforcement learning", path=True)
    group: int = arg(8, "glorank's reinforcement, evaluator, goalrank: lists drawn for each slate")
    evaluator: str | None = arg(
        None, "degre, goalrank: the folder of --kind evaluator; none: the labels say what a list is worth", path=True
    )
    beams: int = arg(8, "degre: lists mined for each slate")
    alpha: float = arg(1.0, "degre: weight of the evaluator's distribution over candidates; 0: cross-entropy only")
    tau_w: float = arg(0.1, "degre: temperature of the lists' weights; inf: all the same", above=0, most=math.inf)
    tau_q: float = arg(0.1, "degre: temperature of the evaluator's distribution")
    hidden_size: int = arg(64, "networks: width")
    layers: int = arg(1, "networks: Transformer layers; those that write lists: of the encoder")
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
    if config.kind in LISTS:
        fit_lists(config, train, valid)
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


def fit_lists(config: Config, learned: list[dict], judged: list[dict]) -> None:
    from gr2.data.catalogue import read_catalogue
    from gr2.rerankers import glorank
    from gr2.rerankers.degre import fit_evaluator, fit_generator

    if not config.semantic_ids:
        raise InputError(f"fit {config.kind}: expected --semantic_ids")
    if config.list_size < 1 or config.group < 2 or config.history < 0 or config.beams < 1:
        raise InputError(f"list_size {config.list_size}, group {config.group}, history {config.history}, beams {config.beams}: "
                         "expected at least 1, 2, 0 and 1")  # fmt: skip
    if not (config.tau_w > 0 and config.tau_q > 0 and config.alpha >= 0):
        raise InputError(
            f"tau_w {config.tau_w}, tau_q {config.tau_q}, alpha {config.alpha}: expected above 0, above 0, 0 or more"
        )
    catalogue = read_catalogue(config.items, config.semantic_ids)
    if config.kind == "glorank":
        glorank.fit(learned, judged, catalogue, config)
    elif config.kind == "evaluator":
        fit_evaluator.fit(learned, judged, catalogue, config)
    else:
        fit_generator.fit(learned, judged, catalogue, config)


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
