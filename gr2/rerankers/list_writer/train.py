"""What the trainings of list writers share: slates as batches, the network's shape, and the utility of a list."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer

from gr2.data.catalogue import Catalogue
from gr2.files.slates import Slate
from gr2.rerankers.list_writer.batch import NONE, Requests, read_labels, read_requests, to_request
from gr2.rerankers.list_writer.decode import write_lists
from gr2.rerankers.list_writer.network import ListWriter, ListWriterConfig, Space
from gr2.rerankers.settings import Lists, Training
from gr2.rerankers.train import Examples, train_best


class ShuffledSlates(Examples):
    """Every slate in a new order of its candidates each time; torch's seed decides, so a resumed run draws the same."""

    def __getitem__(self, index: int) -> Slate:
        return self.examples[index].shuffled(int(torch.randint(2**31, ())))


def collate(slates: list[Slate], catalogue: Catalogue, history: int) -> dict[str, Tensor]:
    """A batch as transformers' Trainer takes it: a request's two tensors, and labels float [n, K]."""
    requests = read_requests(slates, catalogue, history)
    return requests._asdict() | {"labels": read_labels(slates, requests.candidates.shape[1])}


def requests_of(inputs: dict[str, Tensor]) -> Requests:
    return Requests(inputs["history"], inputs["candidates"])


class FoldingTrainer(Trainer):
    """A checkpoint keeps what is known of the codes apart; the network that is written at the end does not."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if not _internal_call:
            self.model.fold()
        super().save_model(output_dir, _internal_call)


class ListTrainer(FoldingTrainer):
    """Validation writes lists; its metric is the mean of `value`, here their NDCG by the labels."""

    def prediction_step(self, model, inputs: dict, *_, **__) -> tuple:
        with torch.no_grad():
            encoded = model.encode(requests_of(inputs))
            lists = to_request(write_lists(model, encoded, model.config.list_size), encoded.order)
            return None, self.value(inputs, lists), inputs["labels"]

    def value(self, inputs: dict, lists: Tensor) -> Tensor:
        return ndcg(inputs["labels"], lists)


def train_writer(
    trainer_class: type[ListTrainer],
    model: ListWriter,
    train_set: Examples,
    lists: Lists,
    training: Training,
    collator: Callable = collate,
    metric: str = "ndcg",
    **others: Any,
) -> None:
    """Keeps the epoch that is best on valid slates by the metric, the mean of `trainer_class.value`."""
    others["data_collator"] = partial(collator, catalogue=lists.catalogue, history=model.config.history)
    train_best(model, train_set, Examples(lists.valid), training, metric, trainer_class, ["labels"], **others)


def new_network(
    space: Space, lists: Lists, training: Training, known: Tensor | None = None, **switches: bool
) -> ListWriter:
    """Untrained, with as many outputs as the slates and the catalogue need; known, switches: as in `clone`."""
    candidates, width = max(len(slate.candidates) for slate in lists.slates), 0 if known is None else known.shape[1]
    shape = {"space": space, "candidates": candidates, "known": width, **switches, **shape_of(lists, training)}
    model = ListWriter(ListWriterConfig(**shape))
    if known is not None:
        model.code.start_from(known)
    return model


def shape_of(lists: Lists, training: Training) -> dict[str, int | float]:
    """What the configurations of a list writer and of the evaluator have in common."""
    return {
        "levels": lists.catalogue.levels,
        "codes": lists.catalogue.code_count,
        "list_size": lists.list_size,
        "history": min(lists.history, max(len(slate.history) for slate in lists.slates)),
        "hidden_size": training.hidden_size,
        "encoder_layers": training.layers,
        "dropout": training.dropout,
    }


def reference_lists(labels: Tensor, mask: Tensor, size: int) -> Tensor:
    """Labels [n, K], bool [n, K] -> lists int64 [n, size]: the most relevant candidates, equal ones in the slate's
    order.

    Ours: how GloRank's reference lists are made is not published.
    """
    order = labels.masked_fill(~mask, -1.0).argsort(dim=1, descending=True, stable=True)[:, :size]
    return order.masked_fill(~mask.gather(1, order), NONE)


def ndcg(labels: Tensor, lists: Tensor) -> Tensor:
    """NDCG of lists [n, m] of indices, against the best list of that length: float [n]."""
    gains = labels.gather(1, lists.clamp(min=0)).masked_fill(lists == NONE, 0.0)
    discounts = 1 / torch.arange(2, lists.shape[1] + 2, device=labels.device).log2()
    best = labels.sort(dim=1, descending=True).values[:, : lists.shape[1]]
    return (gains * discounts).sum(1) / (best * discounts[: best.shape[1]]).sum(1)


def precision(labels: Tensor, lists: Tensor) -> Tensor:
    """The share of relevant items in lists [n, m] of indices, of their m places: float [n]."""
    relevant = (labels > 0).gather(1, lists.clamp(min=0)) & (lists != NONE)
    return relevant.float().mean(1)
