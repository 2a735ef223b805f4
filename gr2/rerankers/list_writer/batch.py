"""Slates as tensors for rerankers that write lists: `Requests`, `EncodedRequests`, and labels."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from gr2.data.catalogue import Catalogue
from gr2.files.slates import Slate
from gr2.rerankers.list_writer.layers import Cache

NONE = -1  # padding, in codes and in lists


class Requests(NamedTuple):
    """What is read of n slates; both are NONE where they are padded."""

    history: Tensor  # int64 [n, H, levels], newest first
    candidates: Tensor  # int64 [n, K, levels]

    @property
    def history_mask(self) -> Tensor:
        """bool [n, H]"""
        return self.history[..., 0] != NONE

    @property
    def mask(self) -> Tensor:
        """bool [n, K]"""
        return self.candidates[..., 0] != NONE


@dataclass(frozen=True)
class EncodedRequests:
    """What the decoder needs of n requests, or of several lists of each (`repeat`)."""

    codes: Tensor  # int64 [n, K, levels], of the candidates in the order in which they are read
    order: Tensor  # int64 [n, K], the index of each in the request
    mask: Tensor  # bool [n, K], false for padding
    vectors: Tensor  # float [n, K, size], the sums of their codes' vectors
    states: Tensor  # float [n, K, size], the encoder's
    start: Tensor  # float [n, 1, size], the decoder's first input
    memory: Cache  # of the K candidates and H items of history; a request's once, however many lists it has
    memory_mask: Tensor  # bool [requests, K + H]

    def repeat(self, times: int) -> Self:
        """For `times` adjacent lists of every request."""
        names = ("codes", "order", "mask", "vectors", "states", "start")
        return replace(self, **{name: vars(self)[name].repeat_interleave(times, 0) for name in names})


def read_requests(slates: list[Slate], catalogue: Catalogue, history: int) -> Requests:
    """The last `history` items of each slate's history, and its candidates in the order that they have there."""
    return Requests(
        read_codes([slate.history[: -history - 1 : -1] for slate in slates], catalogue),
        read_codes([slate.candidates for slate in slates], catalogue),
    )


def read_codes(rows: list[list[str]], catalogue: Catalogue) -> Tensor:
    """Lists of item ids -> int64 [n, longest, levels]."""
    table = np.full((len(rows), max(map(len, rows)), catalogue.levels), NONE)
    for row, item_ids in zip(table, rows, strict=True):
        row[: len(item_ids)] = np.reshape([catalogue.codes[item_id] for item_id in item_ids], (-1, catalogue.levels))
    return torch.from_numpy(table)


def canonical_order(candidates: Tensor) -> Tensor:
    """Indices int64 [n, K] that sort candidates [n, K, levels] by their codes, padding last.

    Order-invariant: it depends on the candidates' codes only, which are unique, so there are no ties.
    """
    key = torch.zeros_like(candidates[..., 0])
    base = candidates.max() + 2
    for level in range(candidates.shape[2]):
        key = key * base + candidates[..., level]
    return key.masked_fill(candidates[..., 0] == NONE, torch.iinfo(torch.int64).max).argsort(dim=1)


def to_request(lists: Tensor, order: Tensor) -> Tensor:
    """Lists [n, m] of indices in the order read -> indices in the request's own order; order: int64 [n, K]."""
    return order.gather(1, lists.clamp(min=0)).masked_fill(lists == NONE, NONE)


def from_request(lists: Tensor, order: Tensor) -> Tensor:
    """Lists [n, m] of indices in a request's own order -> indices in the order read."""
    return order.argsort(1).gather(1, lists.clamp(min=0)).masked_fill(lists == NONE, NONE)


def read_labels(slates: list[Slate], width: int) -> Tensor:
    """float32 [n, width], 0 past a slate's end."""
    table = torch.zeros(len(slates), width)
    for row, slate in zip(table, slates, strict=True):
        row[: len(slate.labels)] = torch.tensor(slate.labels)
    return table
