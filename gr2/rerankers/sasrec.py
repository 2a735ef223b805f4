"""SASRec as a reranker: a slate's candidates in the order of its scores, given the slate's history.

A slate holds only the user's last items, so the order may differ from the one that the same model gave as a pre-ranker,
which looked further back.
"""

from pathlib import Path

import numpy as np
import polars as pl
import torch

from gr2.data.catalogue import order_digest
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.metrics import pad
from gr2.retrieval.sasrec import SASRec

BLOCK = 512  # slates scored at a time


def score(slates: list[Slate], item_ids: pl.Series, folder: str | Path) -> list[np.ndarray]:
    """One array of scores [K] per slate; InputError where the model was trained on other items than `item_ids`."""
    model = SASRec.from_pretrained(folder).eval()
    if model.config.items_digest != order_digest(item_ids):
        raise InputError(f"{folder}: it was trained on other items, or another order, than the items file")
    row = {item_id: at for at, item_id in enumerate(item_ids)}
    found = []
    for start in range(0, len(slates), BLOCK):
        part = slates[start : start + BLOCK]
        pasts = [[row[item_id] for item_id in slate.history[-model.config.length :]] for slate in part]
        last = torch.tensor([len(past) - 1 for past in pasts])
        items = torch.from_numpy(pad(pasts, -1))
        with torch.inference_mode():
            states = model.encode(items, torch.arange(items.shape[1]).expand_as(items))[torch.arange(len(part)), last]
            scores = model.scores(states).double().numpy()
        found += [own[[row[item_id] for item_id in slate.candidates]] for own, slate in zip(scores, part, strict=True)]
    return found
