"""What SASRec is trained on: rows of (items, place, labels), int arrays of equal length, see `SASRec.forward`."""

import random

import numpy as np
import polars as pl
import torch
from transformers import EvalPrediction

from gr2.arrays import pad
from gr2.retrieval.sasrec import IGNORED

Row = tuple[np.ndarray, ...]  # items, place, labels; of a validation row also the user's whole past


def make_rows(events: pl.DataFrame, length: int, valid_users: int, seed: int) -> tuple[list[Row], list[Row]]:
    """(train, valid). events: those of an `EventLog`; length: items that the model reads."""
    train, valid = split_users(pretrain_items(events), valid_users, random.Random(seed))
    return pack(cut_stretches(train, length), length, random.Random(seed)), valid_rows(valid, length)


def pretrain_items(events: pl.DataFrame) -> list[np.ndarray]:
    """Each user's pretrain items, oldest first."""
    users = events.filter(pl.col("split") == "pretrain").group_by("user_id", maintain_order=True).agg("row")
    return [np.array(items) for items in users["row"].to_list()]


def split_users(
    pasts: list[np.ndarray], valid_users: int, rng: random.Random
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(train, valid): up to `valid_users` users' whole pasts are for validation, and their last events not in train.

    Those users have three events or more, so that there is something to train on of every user.
    """
    able = [index for index, items in enumerate(pasts) if len(items) >= 3]
    chosen = set(rng.sample(able, min(valid_users, len(able))))
    train = [items[:-1] if index in chosen else items for index, items in enumerate(pasts)]
    return train, [pasts[index] for index in sorted(chosen)]


def cut_stretches(pasts: list[np.ndarray], length: int) -> list[Row]:
    """Stretches of up to `length` transitions, cut from the end of each user's items; all but the first are labels."""
    rows = []
    for items in pasts:
        for end in range(len(items) - 1, 0, -length):
            start = max(0, end - length)
            rows.append((items[start:end], np.arange(end - start), items[start + 1 : end + 1]))
    return rows


def pack(rows: list[Row], length: int, rng: random.Random) -> list[Row]:
    """Stretches of several users in one row of up to `length`: most are short, and this leaves little padding."""
    rows = rng.sample(rows, len(rows))
    groups, size = [[]], 0
    for row in rows:
        if size + len(row[0]) > length:
            groups.append([])
            size = 0
        groups[-1].append(row)
        size += len(row[0])
    return [tuple(np.concatenate(part) for part in zip(*group, strict=True)) for group in groups if group]


def valid_rows(pasts: list[np.ndarray], length: int) -> list[Row]:
    """A row per user whose one label is the last event, after the latest `length` items; and the whole past."""
    rows = []
    for items in pasts:
        read = items[:-1][-length:]
        labels = np.full(len(read), IGNORED)
        labels[-1] = items[-1]
        rows.append((read, np.arange(len(read)), labels, items[:-1]))
    return rows


def collate(rows: list[Row]) -> dict[str, torch.Tensor]:
    """A batch, padded on the right."""
    items, place, labels, *past = zip(*rows, strict=True)
    batch = {"items": pad(items, -1), "place": pad(place, 0), "labels": pad(labels, IGNORED)}
    if past:
        batch["past"] = pad(past[0], -1)
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def measure(prediction: EvalPrediction) -> dict[str, float]:
    rank = prediction.predictions
    return {
        "recall@10": float((rank < 10).mean()),
        "ndcg@10": float(np.where(rank < 10, 1 / np.log2(rank + 2.0), 0).mean()),
    }
