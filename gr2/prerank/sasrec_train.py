"""gr2 sasrec: interactions -> a SASRec pre-ranker's folder.

It learns the pretrain events with cross-entropy over the whole catalogue, and keeps the epoch with the best NDCG@10 over
all items at each user's first valid position. Every option of transformers' TrainingArguments is an option here.
"""

import random
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, TrainingArguments, set_seed

from gr2.config import arg
from gr2.data.catalogue import order_digest
from gr2.data.tables import read_interactions, read_items
from gr2.errors import InputError
from gr2.prerank.positions import numbered
from gr2.prerank.sasrec import IGNORED, SASRec, SASRecConfig
from gr2.training import train

Row = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(kw_only=True)
class Config(TrainingArguments):
    items: str = arg(help="items.parquet", path=True)
    interactions: str = arg(
        help="interactions.parquet of `gr2 prepare`; its pretrain events are learned, its valid ones judge", path=True
    )
    hidden_size: int = arg(64, "width")
    layers: int = arg(2, "layers")
    heads: int = arg(2, "attention heads")
    dropout: float = arg(0.5, "of embeddings and layers")
    length: int = arg(50, "items of a history that it reads; longer ones are cut into stretches to learn from")
    exclude_seen: bool = arg(True, "judge it as a ranker that lists no item of the past; as for `gr2 slates`")
    patience: int = arg(5, "epochs without a better validation NDCG@10 after which it stops")
    num_train_epochs: float = arg(60.0, "at most so many epochs")
    per_device_train_batch_size: int = arg(48, "rows a batch, each of up to `length` items of several users")
    per_device_eval_batch_size: int = arg(512, "users a batch when judging an epoch")
    learning_rate: float = arg(1e-3, "Adam's")
    lr_scheduler_type: str = arg("constant", "schedule of the learning rate")
    eval_strategy: str = arg("epoch", "when it is judged; as save_strategy")
    save_strategy: str = arg("epoch", "when it is saved; a killed training goes on from there")
    save_total_limit: int = arg(2, "checkpoints kept")
    load_best_model_at_end: bool = arg(True, "the model is that of the best epoch")
    metric_for_best_model: str = arg("ndcg@10", "what is best")
    greater_is_better: bool = arg(True, "whether more of it is better")
    logging_strategy: str = arg("epoch", "when the loss is logged")
    report_to: str = arg("none", "trackers: tensorboard, trackio, wandb, none")


def run(config: Config) -> None:
    set_seed(config.seed)
    item_ids = read_items(config.items)["item_id"]
    events = numbered(read_interactions(config.interactions, item_ids), config.interactions, item_ids)
    learned = Rows(packed(stretches(events, config.length), config.length, random.Random(config.seed)))
    judged = Rows(first_valid(events, config.length))
    if not len(learned) or not len(judged):
        raise InputError(f"{config.interactions}: expected users with two pretrain events and one of valid")
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


def stretches(events: pl.DataFrame, length: int) -> list[Row]:
    """Each user's pretrain items in stretches of at most `length` transitions, cut from the end; every event but the first is
    a label.
    """
    rows = []
    learned = events.filter(pl.col("split") == "pretrain")
    for (items,) in learned.group_by("user_id", maintain_order=True).agg("row").select("row").iter_rows():
        items = np.array(items)
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


def first_valid(events: pl.DataFrame, length: int) -> list[Row]:
    """Each user's first valid event, asked for after the last `length` items before it."""
    rows = []
    histories = events.group_by("user_id", maintain_order=True).agg("row", "split").select("row", "split")
    for items, splits in histories.iter_rows():
        at = splits.index("valid") if "valid" in splits else 0
        if at:
            past = np.array(items[max(0, at - length) : at])
            labels = np.full(len(past), IGNORED)
            labels[-1] = items[at]
            rows.append((past, np.arange(len(past)), labels))
    return rows


def collate(rows: list[Row]) -> dict[str, torch.Tensor]:
    """Padded on the right: items with -1, places on from the last, labels with -100."""
    longest = max(len(items) for items, _, _ in rows)
    items, place, labels = np.full((3, len(rows), longest), -1)
    place[:], labels[:] = 0, IGNORED
    for row, (own_items, own_place, own_labels) in enumerate(rows):
        size = len(own_items)
        items[row, :size], place[row, :size], labels[row, :size] = own_items, own_place, own_labels
    return {"items": torch.from_numpy(items), "place": torch.from_numpy(place), "labels": torch.from_numpy(labels)}


def measured(prediction: EvalPrediction) -> dict[str, float]:
    rank = prediction.predictions
    return {
        "recall@10": float((rank < 10).mean()),
        "ndcg@10": float(np.where(rank < 10, 1 / np.log2(rank + 2.0), 0).mean()),
    }
