"""Slates as tensors for rerankers that write lists: codes of the history's items and of the candidates, and labels."""

from typing import NamedTuple

import numpy as np
import torch

from gr2.data.catalogue import Catalogue
from gr2.files.slates import Slate

NONE = -1  # past a slate's end, in codes and in lists


class Requests(NamedTuple):
    """history: int64 [n, H, levels], newest first; candidates: int64 [n, K, levels]; both NONE where there is no item."""

    history: torch.Tensor
    candidates: torch.Tensor

    @property
    def past(self) -> torch.Tensor:
        """bool [n, H]"""
        return self.history[..., 0] != NONE

    @property
    def there(self) -> torch.Tensor:
        """bool [n, K]"""
        return self.candidates[..., 0] != NONE


def read(slates: list[Slate], catalogue: Catalogue, history: int) -> Requests:
    """The last `history` items of each slate's history, and its candidates in the order that they have there."""
    return Requests(
        codes([slate.history[: -history - 1 : -1] for slate in slates], catalogue),
        codes([slate.candidates for slate in slates], catalogue),
    )


def codes(rows: list[list[str]], catalogue: Catalogue) -> torch.Tensor:
    """Lists of item ids -> int64 [n, longest, levels]."""
    table = np.full((len(rows), max(map(len, rows)), catalogue.levels), NONE)
    for row, item_ids in zip(table, rows, strict=True):
        row[: len(item_ids)] = np.reshape([catalogue.codes[item_id] for item_id in item_ids], (-1, catalogue.levels))
    return torch.from_numpy(table)


def canonical(candidates: torch.Tensor) -> torch.Tensor:
    """Places int64 [n, K] that sort candidates [n, K, levels] by their codes, padding last: an order that no input order decides.

    Semantic IDs are unique, so there are no ties.
    """
    key = torch.zeros_like(candidates[..., 0])
    base = candidates.max() + 2
    for level in range(candidates.shape[2]):
        key = key * base + candidates[..., level]
    return key.masked_fill(candidates[..., 0] == NONE, torch.iinfo(torch.int64).max).argsort(dim=1, stable=True)


def labels(slates: list[Slate], width: int) -> torch.Tensor:
    """float32 [n, width], 0 past a slate's end."""
    table = torch.zeros(len(slates), width)
    for row, slate in zip(table, slates, strict=True):
        row[: len(slate.labels)] = torch.tensor(slate.labels)
    return table
