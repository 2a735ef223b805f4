"""SASRec as a reranker: a slate's candidates in the order of its scores, given the slate's history.

A slate holds only the user's last items, so the order may differ from the one that the same model gave as a pre-ranker,
which looked further back.
"""

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from gr2.arrays import pad
from gr2.files.items import read_items
from gr2.files.slates import Slate
from gr2.rerankers.protocol import Inputs, Sampling, Scorer

BLOCK = 512  # slates scored at a time


class SASRecReranker(Scorer):
    def __init__(self, folder: str | Path, item_ids: pl.Series):
        """InputError where the model was trained on other items than `item_ids`."""
        from gr2.retrieval.sasrec import load

        self.model = load(folder, item_ids).eval()
        self.row = {item_id: row for row, item_id in enumerate(item_ids)}

    @classmethod
    def open(cls, folder: str, inputs: Inputs, sampling: Sampling) -> Self:
        return cls(folder, read_items(inputs.items)["item_id"])

    def scores(self, slates: list[Slate]) -> list[np.ndarray]:
        import torch

        scores = []
        for start in range(0, len(slates), BLOCK):
            block = slates[start : start + BLOCK]
            histories = [self.rows(slate.history[-self.model.config.length :]) for slate in block]
            last = torch.tensor([len(history) - 1 for history in histories])
            items = torch.from_numpy(pad(histories, -1))
            with torch.inference_mode():
                states = self.model.encode(items, torch.arange(items.shape[1]).expand_as(items))
                of_items = self.model.scores(states[torch.arange(len(block)), last]).double().numpy()
            scores += [row[self.rows(slate.candidates)] for row, slate in zip(of_items, block, strict=True)]
        return scores

    def rows(self, item_ids: list[str]) -> list[int]:
        return [self.row[item_id] for item_id in item_ids]
