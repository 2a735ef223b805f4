"""What the Lookahead Evaluator reads of slates: rows of the catalogue, and features of the candidates if it has any."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gr2.arrays import pad
from gr2.data.catalogue import Catalogue
from gr2.data.features import Features
from gr2.files.slates import Slate
from gr2.rerankers.list_writer.batch import NONE


class EvaluatorInput(NamedTuple):
    """n slates; rows are NONE where they are padded."""

    history: Tensor  # int64 [n, H], newest first
    candidates: Tensor  # int64 [n, K]
    features: Tensor  # float [n, K, F]; F is 0 where none are read

    @property
    def mask(self) -> Tensor:
        """bool [n, K]"""
        return self.candidates != NONE


@dataclass(frozen=True)
class SlateFeatures:
    """A slate with its candidates' features, float32 [K, F]: they take too long to be computed again every epoch."""

    slate: Slate
    features: np.ndarray


class InputReader:
    """Reads the latest `history` items of a slate, and these features of its candidates."""

    def __init__(
        self, catalogue: Catalogue, history: int, names: tuple[str, ...] = (), features: Features | None = None
    ):
        self.history, self.names, self.features = history, names, features
        self.row = {item_id: row for row, item_id in enumerate(catalogue.item_ids)}

    def add_features(self, slates: list[Slate]) -> list[SlateFeatures]:
        if not self.names:
            return [SlateFeatures(slate, np.zeros((len(slate.candidates), 0), np.float32)) for slate in slates]
        tables = self.features.compute(slates, self.names)
        return [SlateFeatures(slate, table.astype(np.float32)) for slate, table in zip(slates, tables, strict=True)]

    def read(self, known: list[SlateFeatures]) -> EvaluatorInput:
        candidates = self.rows([one.slate.candidates for one in known])
        features = np.zeros((*candidates.shape, len(self.names)), np.float32)
        for table, one in zip(features, known, strict=True):
            table[: len(one.features)] = one.features
        history = self.rows([one.slate.history[: -self.history - 1 : -1] for one in known])
        return EvaluatorInput(torch.from_numpy(history), torch.from_numpy(candidates), torch.from_numpy(features))

    def rows(self, lists: list[list[str]]) -> np.ndarray:
        """Lists of item ids -> int64 [n, longest]."""
        return pad([[self.row[item_id] for item_id in item_ids] for item_ids in lists], NONE)
