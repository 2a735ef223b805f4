"""What the trainings of rerankers that write lists share: reference lists, slates as batches, and what a list is worth."""

import torch

from gr2.data.catalogue import Catalogue
from gr2.data.slates import shuffled
from gr2.rerankers.listwise import requests
from gr2.rerankers.listwise.requests import NONE
from gr2.rerankers.training import Slates

METRIC = "ndcg"  # of the written lists, at their length


class Shuffled(Slates):
    """Every slate in a new order of its candidates each time; torch's own seed decides, so that a resumed run goes on alike."""

    def __getitem__(self, index: int) -> dict:
        return shuffled(self.slates[index], int(torch.randint(2**31, ())))


def referenced(slate: dict, size: int) -> dict:
    """The slate with `reference`: its most relevant items, at most `size`, equal ones in the input order.

    Ours: how GloRank's reference lists are made is not published.
    """
    order = sorted(range(len(slate["candidates"])), key=lambda place: -slate["labels"][place])
    return slate | {"reference": [slate["candidates"][place] for place in order[:size]]}


def collate(slates: list[dict], catalogue: Catalogue, history: int) -> dict[str, torch.Tensor]:
    """Slates with references -> history, candidates, labels, and lists int64 [n, m], the references' places, NONE past an end."""
    asked = requests.read(slates, catalogue, history)
    lists = torch.full((len(slates), max(len(slate["reference"]) for slate in slates)), NONE)
    for row, slate in zip(lists, slates, strict=True):
        row[: len(slate["reference"])] = torch.tensor([slate["candidates"].index(item) for item in slate["reference"]])
    labels = requests.labels(slates, asked.candidates.shape[1])
    return {"history": asked.history, "candidates": asked.candidates, "labels": labels, "lists": lists}


def utility(labels: torch.Tensor, lists: torch.Tensor) -> torch.Tensor:
    """NDCG of lists [n, m] of places, against the best list of that length: float [n]."""
    gains = labels.gather(1, lists.clamp(min=0)).masked_fill(lists == NONE, 0.0)
    discounts = 1 / torch.arange(2, lists.shape[1] + 2, device=labels.device).log2()
    best = labels.sort(dim=1, descending=True).values[:, : lists.shape[1]]
    return (gains * discounts).sum(1) / (best * discounts[: best.shape[1]]).sum(1)
