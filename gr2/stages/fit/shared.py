"""Options that several kinds of `gr2 fit` share, and the slates that they learn from."""

import os
import random
from dataclasses import dataclass

import polars as pl

from gr2.data.teacher_rankings import read_teacher_slates
from gr2.errors import InputError
from gr2.files.items import read_items
from gr2.files.slates import Slate, Slates, read_slate_table, read_slates
from gr2.options.declare import arg
from gr2.rerankers.settings import Training
from gr2.stages.shared import SlateOptions

SHAPE = {
    "space": "global", "shared": False, "look_ahead": False, "list_size": 6, "history": 50, "hidden_size": 64,
    "layers": 1, "dropout": 0.2,
}  # fmt: skip


@dataclass(kw_only=True)
class Fit(SlateOptions):
    """Of every kind: learns the train split."""

    output_dir: str = arg(help="the reranker's folder")
    seed: int = arg(0, "random seed (initial weights, batch order, dropout)", least=0, most=2**31 - 1)

    def __post_init__(self) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError("gr2 fit trains in one process; start it without torchrun or accelerate")


@dataclass(kw_only=True)
class ByFeatures(Fit):
    """Of kinds that know of a candidate what a production reranker does."""

    interactions: str = arg(help="interactions.parquet; only pretrain events are read", path="interactions.parquet")
    embeddings: str = arg(help="embeddings.safetensors", path="embeddings.safetensors")


@dataclass(kw_only=True)
class Network(Fit):
    """Of kinds that train a network; training stops by the valid split, or by the slates of a tenth of the users."""

    hidden_size: int | None = arg(None, "width; 64 where not given", least=1)
    layers: int | None = arg(None, "Transformer layers, of list writers in the encoder; 1 where not given", least=1)
    dropout: float | None = arg(None, "dropout; 0.2 where not given", least=0, below=1)
    learning_rate: float = arg(1e-3, "AdamW's", above=0, most=1)
    batch_size: int = arg(32, "slates per step", least=1)
    epochs: int = arg(60, "train N epochs, or stop earlier by --patience", least=1)
    patience: int = arg(8, "stop after N epochs without a better metric on the valid split", least=1)

    HEADS = 4  # of attention

    def __post_init__(self) -> None:
        """What was not given of SHAPE becomes its default, or, with a network to go on from, later that network's."""
        super().__post_init__()
        if self.hidden_size and self.hidden_size % self.HEADS:
            raise InputError(f"--hidden_size {self.hidden_size}: expected a multiple of {self.HEADS}")
        if not vars(self).get("model_name_or_path"):
            for name in SHAPE.keys() & vars(self).keys():
                setattr(self, name, SHAPE[name] if vars(self)[name] is None else vars(self)[name])

    @property
    def training(self) -> Training:
        return Training(**{name: vars(self)[name] for name in Training.__dataclass_fields__})


@dataclass(kw_only=True)
class TeacherOptions(Fit):
    """Of kinds that can learn another reranker's rankings of train slates, with a target or without."""

    teacher: str | None = arg(
        None,
        "learn the probabilities of any reranker: its rankings of train slates, from `gr2 rerank --split train`",
        path="rankings.parquet",
        named=True,
    )


def read_train(config: Fit) -> tuple[Slates, Slates]:
    """The train and the valid slates that have a relevant candidate; prints how many train slates have none."""
    frame = read_slate_table(config.slates, read_items(config.items)["item_id"])
    labelled = frame.filter(pl.col("labels").list.max() > 0)
    train, valid = (Slates(labelled.filter(pl.col("split") == split)) for split in ("train", "valid"))
    if not train:
        raise InputError(f"{config.slates}: no train slate has a relevant candidate")
    without = (frame["split"] == "train").sum() - len(train)
    if without:
        print(f"left out: {without} train slates without a relevant candidate", flush=True)
    return train, valid


def read_train_and_valid(config: Fit) -> tuple[list[Slate], list[Slate]]:
    """Without labelled valid slates, a tenth of the users is held out for them."""
    train, valid = map(list, read_train(config))
    return (train, valid) if valid else hold_out_users(train, config.seed)


def read_teacher(
    config: TeacherOptions, valid: list[Slate], temperature: float = 1.0, weight: float = 1.0
) -> list[Slate]:
    """The train slates that the teacher ranked, as `read_teacher_slates` has them, without the users that are held out
    as `valid`.
    """
    slates = read_slates(config.slates, read_items(config.items)["item_id"], "train")
    held = {slate.user_id for slate in valid if slate.split == "train"}
    kept = [slate for slate in slates if slate.user_id not in held]
    ranked = read_teacher_slates(config.teacher, kept, temperature, weight)
    print(f"{len(ranked)} train slates as {config.teacher} ranks them", flush=True)
    return ranked


def hold_out_users(slates: list[Slate], seed: int) -> tuple[list[Slate], list[Slate]]:
    """The slates of nine tenths, and of a tenth of the users, drawn at random."""
    users = sorted({slate.user_id for slate in slates})
    if len(users) < 2:
        raise InputError("early stopping needs labelled slates of split valid, or labelled train slates of two users")
    held = set(random.Random(seed).sample(users, max(1, len(users) // 10)))
    train = [slate for slate in slates if slate.user_id not in held]
    return train, [slate for slate in slates if slate.user_id in held]
