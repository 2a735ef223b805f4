"""gr2 sasrec: interactions -> a SASRec pre-ranker's folder.

It learns the pretrain events with cross-entropy over the whole catalogue, and keeps the epoch with the best NDCG@10 over
all items at the last pretrain event of up to 2,000 users drawn at random. Those events are not learned; no later event is
looked at. Every option of transformers' TrainingArguments is an option here.
"""

import random
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, TrainingArguments, set_seed

from gr2.data.catalogue import order_digest
from gr2.errors import InputError
from gr2.files.tables import read_interactions, read_items
from gr2.metrics import pad
from gr2.options.declare import arg
from gr2.retrieval.positions import numbered
from gr2.retrieval.sasrec import IGNORED, SASRec, SASRecConfig
from gr2.training import train

JUDGES = 2000  # users whose last pretrain event chooses the epoch, at most: it is not learned, so that more would cost
Row = tuple[np.ndarray, ...]  # items, place, labels; of a row that judges also the user's whole past


@dataclass(kw_only=True)
class Config(TrainingArguments):
    items: str = arg(help="items.parquet", path="items.parquet")
    interactions: str = arg(
        help="interactions.parquet of `gr2 prepare`; only its pretrain events are read", path="interactions.parquet"
    )
    hidden_size: int = arg(64, "width, a multiple of `heads`", least=1)
    layers: int = arg(2, "layers", least=1)
    heads: int = arg(2, "attention heads", least=1)
    dropout: float = arg(0.5, "of embeddings and layers", least=0, below=1)
    length: int = arg(50, "items of a history that it reads; longer ones are cut into stretches to learn from", least=1)
    exclude_seen: bool = arg(True, "judge it as a ranker that lists no item of the past; as for `gr2 slates`")
    patience: int = arg(5, "epochs without a better validation NDCG@10 after which it stops", least=1)
    num_train_epochs: float = arg(60.0, "most epochs", above=0)
    per_device_train_batch_size: int = arg(48, "rows a batch, each of up to `length` items of several users", least=1)
    per_device_eval_batch_size: int = arg(512, "users a batch when judging an epoch", least=1)
    learning_rate: float = arg(1e-3, "Adam's", least=0)
    lr_scheduler_type: str = arg("constant", "schedule of the learning rate")
    eval_strategy: str = arg("epoch", "when it is judged; as save_strategy")
    save_strategy: str = arg("epoch", "when it is saved; a killed training goes on from there")
    save_total_limit: int = arg(2, "checkpoints kept", least=1)
    load_best_model_at_end: bool = arg(True, "the model is that of the best epoch")
    metric_for_best_model: str = arg("ndcg@10", "what is best")
    greater_is_better: bool = arg(True, "whether more of it is better")
    logging_strategy: str = arg("epoch", "when the loss is logged")
    report_to: str = arg("none", "trackers: tensorboard, trackio, wandb, none")
    restore_callback_states_from_checkpoint: bool = arg(True, "a killed training is as patient as a whole one")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size % self.heads:
            raise InputError(f"--hidden_size {self.hidden_size}: expected a multiple of --heads, {self.heads}")


def run(config: Config) -> None:
    set_seed(config.seed)
    item_ids = read_items(config.items)["item_id"]
    events = numbered(read_interactions(config.interactions, item_ids), config.interactions, item_ids)
    pasts, judges = held_out(pretrain_items(events), JUDGES, random.Random(config.seed))
    learned = Rows(packed(stretches(pasts, config.length), config.length, random.Random(config.seed)))
    judged = Rows(questions(judges, config.length))
    if not len(judged):
        raise InputError(
            f"{config.interactions}: expected users with three pretrain events: the last one chooses the epoch"
        )
    shape = SASRecConfig(len(item_ids), config.hidden_size, config.layers, config.heads, config.dropout, config.length,
                         order_digest(item_ids), config.exclude_seen)  # fmt: skip
    model = SASRec(shape)
    print(
        f"{model.num_parameters():,} parameters, {len(learned)} rows to learn, {len(judged)} users to judge by",
        flush=True,
    )
    train(Trainer(model, config, train_dataset=learned, eval_dataset=judged, data_collator=collate,
                  compute_metrics=measured, callbacks=[EarlyStoppingCallback(config.patience)]))  # fmt: skip


class Rows(Dataset):
    """Rows of (items, place, labels), int arrays of equal length: see SASRec.forward."""

    def __init__(self, rows: list[Row]):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]


def pretrain_items(events: pl.DataFrame) -> list[np.ndarray]:
    """Each user's pretrain items, oldest first."""
    own = events.filter(pl.col("split") == "pretrain").group_by("user_id", maintain_order=True).agg("row")
    return [np.array(items) for items in own["row"].to_list()]


def held_out(pasts: list[np.ndarray], judges: int, rng: random.Random) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What may be learned, and the pasts of up to `judges` users whose last event is held out of it, that event included.

    A judge has at least three events, so that something of every user is learned.
    """
    able = [at for at, items in enumerate(pasts) if len(items) >= 3]
    chosen = set(rng.sample(able, min(judges, len(able))))
    return [items[:-1] if at in chosen else items for at, items in enumerate(pasts)], [
        pasts[at] for at in sorted(chosen)
    ]


def stretches(pasts: list[np.ndarray], length: int) -> list[Row]:
    """Users' items in stretches of at most `length` transitions, cut from the end; every event but the first is a label."""
    rows = []
    for items in pasts:
        for end in range(len(items) - 1, 0, -length):
            start = max(0, end - length)
            rows.append((items[start:end], np.arange(end - start), items[start + 1 : end + 1]))
    return rows


def packed(rows: list[Row], length: int, rng: random.Random) -> list[Row]:
    """Stretches of several users in one row of at most `length`, so that little is padding: most histories are short."""
    rows = rng.sample(rows, len(rows))
    groups, size = [[]], 0
    for row in rows:
        if size + len(row[0]) > length:
            groups.append([])
            size = 0
        groups[-1].append(row)
        size += len(row[0])
    return [tuple(np.concatenate(part) for part in zip(*group, strict=True)) for group in groups if group]


def questions(pasts: list[np.ndarray], length: int) -> list[Row]:
    """For each user their last event, asked for after the last `length` items before it; with the whole past before it."""
    rows = []
    for items in pasts:
        read = items[:-1][-length:]
        labels = np.full(len(read), IGNORED)
        labels[-1] = items[-1]
        rows.append((read, np.arange(len(read)), labels, items[:-1]))
    return rows


def collate(rows: list[Row]) -> dict[str, torch.Tensor]:
    """Padded on the right: items and pasts with -1, places on from the last with 0, labels with -100."""
    names, fills = ("items", "place", "labels", "past"), (-1, 0, IGNORED, -1)
    return {
        name: torch.from_numpy(pad(part, fill))
        for name, fill, part in zip(names, fills, zip(*rows, strict=True), strict=False)
    }


def measured(prediction: EvalPrediction) -> dict[str, float]:
    rank = prediction.predictions
    return {
        "recall@10": float((rank < 10).mean()),
        "ndcg@10": float(np.where(rank < 10, 1 / np.log2(rank + 2.0), 0).mean()),
    }
