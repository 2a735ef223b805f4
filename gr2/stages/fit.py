"""gr2 fit: slates -> a small reranker's folder, for `gr2 rerank --reranker FOLDER`.

`blend` is a logistic regression on what a production reranker knows of a candidate; `lambdamart` boosted trees on the same;
`prm` a small listwise Transformer. The others write lists of semantic IDs: `glorank` is trained on reference lists first, then,
with --model_name_or_path, by reinforcement; `evaluator` learns what lists are worth; `degre` and `goalrank` learn from it to
write good ones.
"""

import math
import os
import random
from dataclasses import dataclass, fields
from typing import Literal

from gr2.errors import InputError
from gr2.files.slates import Slate, slates_of
from gr2.files.tables import read_items, read_slates
from gr2.options.declare import arg
from gr2.rerankers.record import write_record

BY_FEATURES, LISTS = ("blend", "lambdamart", "prm"), ("glorank", "evaluator", "degre", "goalrank")
NETWORKS = ("prm", *LISTS)
HEADS = {"prm": 2} | dict.fromkeys(LISTS, 4)  # of the networks' attention: hidden_size is a multiple of it
USED_BY = {
    "features": ("prm",),
    "space": ("glorank",),
    "list_size": ("lambdamart", *LISTS),
    "history": LISTS,
    "shuffle_candidates": ("glorank",),
    "model_name_or_path": ("glorank",),
    "group": ("glorank", "evaluator", "goalrank"),
    "evaluator": ("degre", "goalrank"),
    **dict.fromkeys(("beams", "alpha", "tau_w", "tau_q"), ("degre",)),
    **dict.fromkeys(
        ("hidden_size", "layers", "dropout", "learning_rate", "batch_size", "epochs", "patience"), NETWORKS
    ),
}
REFUSED = ("features", "space", "model_name_or_path", "evaluator")  # where unused; other options are named and ignored
SHAPE = {"space": "global", "list_size": 6, "history": 50, "hidden_size": 64, "layers": 1, "dropout": 0.2}  # defaults


@dataclass
class Config:
    items: str = arg(help="items.parquet", path="items.parquet")
    slates: str = arg(
        help="slates.parquet; its train split is learned, training stops by its valid split, or by a tenth of the users",
        path="slates.parquet",
    )
    output_dir: str = arg(help="the reranker's folder")
    kind: Literal["blend", "lambdamart", "prm", "glorank", "evaluator", "degre", "goalrank"] = arg(
        "blend", "which small reranker"
    )
    interactions: str | None = arg(
        None,
        "blend, lambdamart, prm: interactions.parquet; only its pretrain events are read",
        path="interactions.parquet",
    )
    embeddings: str | None = arg(None, "blend, lambdamart, prm: embeddings.safetensors", path="embeddings.safetensors")
    semantic_ids: str | None = arg(None, "those that write lists: semantic_ids.parquet", path="semantic_ids.parquet")
    features: bool = arg(False, "prm: reads the blend's features too, and adds the pre-ranker's score to its own")
    space: Literal["global", "place", "pointer"] | None = arg(
        None, "glorank: what an action is (gr2/rerankers/list_writer/network.py); global where not given"
    )
    list_size: int | None = arg(
        None,
        "those that write lists: items of a list; lambdamart: the length at which its NDCG is taken; 6 where not given",
        least=1,
    )
    history: int | None = arg(
        None,
        "those that write lists: items of a user's history that are read; 0: none; 50 where not given",
        least=0,
    )
    shuffle_candidates: bool = arg(True, "glorank: learn each slate in a new order of its candidates every time")
    model_name_or_path: str | None = arg(
        None,
        "glorank: go on from this folder with reinforcement learning; its shape is the folder's",
        path=True,
    )
    group: int = arg(8, "glorank's reinforcement, evaluator, goalrank: lists drawn for each slate", least=2)
    evaluator: str | None = arg(
        None, "degre, goalrank: the folder of --kind evaluator; none: the labels say what a list is worth", path=True
    )
    beams: int = arg(8, "degre: lists mined for each slate", least=1)
    alpha: float = arg(
        1.0, "degre: weight of the evaluator's distribution over candidates; 0: cross-entropy only", least=0
    )
    tau_w: float = arg(0.1, "degre: temperature of the lists' weights; inf: all the same", above=0, most=math.inf)
    tau_q: float = arg(0.1, "degre: temperature of the evaluator's distribution", above=0)
    hidden_size: int | None = arg(None, "networks: width; 64 where not given", least=1)
    layers: int | None = arg(
        None, "networks: Transformer layers; those that write lists: of the encoder; 1 where not given", least=1
    )
    dropout: float | None = arg(
        None, "networks: of inputs, attention and layers; 0.2 where not given", least=0, below=1
    )
    learning_rate: float = arg(1e-3, "networks: AdamW's", above=0, most=1)
    batch_size: int = arg(32, "networks: slates a step", least=1)
    epochs: int = arg(60, "networks: the most epochs", least=1)
    patience: int = arg(8, "networks: epochs without a better NDCG on the valid split after which it stops", least=1)
    seed: int = arg(0, "of the solver; elsewhere of the start, the order and dropout", least=0, most=2**31 - 1)

    def __post_init__(self) -> None:
        """Refuses what does not go together; what was not given of SHAPE becomes its default, or later the folder's."""
        for name in REFUSED:
            if vars(self)[name] and self.kind not in USED_BY[name]:
                raise InputError(f"--{name} {vars(self)[name]}: expected --kind {' or '.join(USED_BY[name])}")
        if self.kind in BY_FEATURES and not (self.interactions and self.embeddings):
            raise InputError(f"--kind {self.kind}: expected --interactions and --embeddings")
        if self.kind in LISTS and not self.semantic_ids:
            raise InputError(f"--kind {self.kind}: expected --semantic_ids")
        for name, default in SHAPE.items():
            if self.kind in USED_BY[name] and vars(self)[name] is None and not self.model_name_or_path:
                setattr(self, name, default)
        if self.kind in NETWORKS and self.hidden_size and self.hidden_size % HEADS[self.kind]:
            raise InputError(f"--hidden_size {self.hidden_size}: expected a multiple of {HEADS[self.kind]}")

    def ignored(self) -> list[str]:
        """Options that were given another value than their default, though this kind does not use them."""
        return [
            field.name
            for field in fields(self)
            if self.kind not in USED_BY.get(field.name, (self.kind,)) and vars(self)[field.name] != field.default
        ]


def run(config: Config) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("gr2 fit trains in one process; start it without torchrun or accelerate")
    train, valid = labelled_slates(config)
    if config.ignored():
        print(f"fit {config.kind} does not use " + ", ".join(f"--{name}" for name in config.ignored()), flush=True)
    if config.kind in LISTS:
        fit_lists(config, train, valid)
    else:
        fit_by_features(config, train, valid)


def labelled_slates(config: Config) -> tuple[list[dict], list[dict]]:
    """The slates to learn from, and those to stop the training by; every one has a relevant candidate."""
    slates = read_slates(config.slates, read_items(config.items)["item_id"])
    labelled = []
    for slate in slates_of(slates):
        if any(slate.labels):
            labelled.append(slate)
    train, valid = ([slate for slate in labelled if slate.split == split] for split in ("train", "valid"))
    if not train:
        raise InputError(f"{config.slates}: no train slate has a relevant candidate")
    without = (slates["split"] == "train").sum() - len(train)
    if without:
        print(f"left out: {without} train slates without a relevant candidate", flush=True)
    if not valid and config.kind != "blend":
        train, valid = by_users(train, config.seed)
    return train, valid


def fit_by_features(config: Config, train: list[dict], valid: list[dict]) -> None:
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
    write_record(config.output_dir, config.kind)


def fit_lists(config: Config, train: list[dict], valid: list[dict]) -> None:
    from gr2.data.catalogue import read_catalogue
    from gr2.rerankers import glorank
    from gr2.rerankers.degre import fit_evaluator, fit_generator

    catalogue = read_catalogue(config.items, config.semantic_ids)
    longest = max(len(slate.candidates) for slate in train)
    if config.list_size and config.list_size > longest:
        raise InputError(f"--list_size {config.list_size}: expected at most {longest}, the candidates of the longest "
                         f"train slate of {config.slates}")  # fmt: skip
    if config.kind == "glorank":
        glorank.fit(train, valid, catalogue, config)
    elif config.kind == "evaluator":
        fit_evaluator.fit(train, valid, catalogue, config)
    else:
        fit_generator.fit(train, valid, catalogue, config)
    write_record(config.output_dir, config.kind, catalogue)


def by_users(slates: list[Slate], seed: int) -> tuple[list[dict], list[dict]]:
    """(nine tenths, a tenth) of the users, drawn at random, with all slates of theirs."""
    users = sorted({slate.user_id for slate in slates})
    if len(users) < 2:
        raise InputError(
            "expected labelled slates of split valid, or train slates of two users, to stop the training by"
        )
    chosen = set(random.Random(seed).sample(users, max(1, len(users) // 10)))
    return ([slate for slate in slates if slate.user_id not in chosen],
            [slate for slate in slates if slate.user_id in chosen])  # fmt: skip
