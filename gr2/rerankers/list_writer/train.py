"""What the trainings of rerankers that write lists share: slates as batches, the network's shape, and what a list is worth."""

from collections.abc import Callable
from functools import partial

import torch
from transformers import EvalPrediction, Trainer

from gr2.data.catalogue import Catalogue
from gr2.files.slates import Slate
from gr2.rerankers.list_writer import batch as requests
from gr2.rerankers.list_writer.batch import NONE, Requests
from gr2.rerankers.list_writer.decode import in_request_order, write
from gr2.rerankers.list_writer.network import ListWriter, ListWriterConfig
from gr2.rerankers.training import Slates, keep_best
from gr2.stages.fit import Config

METRIC = "ndcg"  # of the written lists, at their length


class Shuffled(Slates):
    """Every slate in a new order of its candidates each time; torch's own seed decides, so that a resumed run goes on alike."""

    def __getitem__(self, index: int) -> dict:
        return self.slates[index].shuffled(int(torch.randint(2**31, ())))


class Writing(Trainer):
    """Validation writes lists; its metric is the mean of `worth`, of the lists by the labels here."""

    def prediction_step(self, model, inputs: dict, *_, **__) -> tuple:
        with torch.no_grad():
            encoded = model.encode(Requests(inputs["history"], inputs["candidates"]))
            lists = in_request_order(write(model, encoded, model.config.list_size), encoded)
            return None, self.worth(inputs, lists), inputs["labels"]

    def worth(self, inputs: dict, lists: torch.Tensor) -> torch.Tensor:
        return utility(inputs["labels"], lists)


def fit(trainer_class: type[Writing], model: ListWriter, learned: Slates, judged: list[Slate], collator: Callable,
        catalogue: Catalogue, config: Config, metric: str = METRIC, **others) -> None:  # fmt: skip
    """Trains on `learned`, keeps the epoch that is best by the metric on `judged`; collator: `collate`, or more than it."""
    keep_best(model, learned, Slates(judged), config, metric, trainer_class, ["labels"],
              compute_metrics=partial(measured, metric),
              data_collator=partial(collator, catalogue=catalogue, history=model.config.history), **others)  # fmt: skip


def measured(metric: str, prediction: EvalPrediction) -> dict[str, float]:
    return {metric: float(prediction.predictions.mean())}


def new_network(space: str, slates: list[Slate], catalogue: Catalogue, config: Config) -> ListWriter:
    """Untrained, as wide as the slates and the catalogue ask for."""
    candidates = max(len(slate.candidates) for slate in slates)
    return ListWriter(ListWriterConfig(space=space, candidates=candidates, **shape(slates, catalogue, config)))


def shape(slates: list[Slate], catalogue: Catalogue, config: Config) -> dict[str, int | float]:
    """What the configurations of writers and of their evaluator have in common."""
    return {
        "levels": catalogue.levels,
        "codes": 1 + max(max(codes) for codes in catalogue.codes.values()),
        "list_size": config.list_size,
        "history": min(config.history, max(len(slate.history) for slate in slates)),
        "hidden_size": config.hidden_size,
        "encoder_layers": config.layers,
        "dropout": config.dropout,
    }


def collate(slates: list[Slate], catalogue: Catalogue, history: int) -> dict[str, torch.Tensor]:
    """Slates -> history, candidates and labels."""
    asked = requests.read(slates, catalogue, history)
    labels = requests.labels(slates, asked.candidates.shape[1])
    return {"history": asked.history, "candidates": asked.candidates, "labels": labels}


def references(labels: torch.Tensor, there: torch.Tensor, size: int) -> torch.Tensor:
    """Labels [n, K], bool [n, K] -> lists int64 [n, size]: the most relevant candidates, equal ones in the slate's order.

    Ours: how GloRank's reference lists are made is not published.
    """
    order = labels.masked_fill(~there, -1.0).argsort(dim=1, descending=True, stable=True)[:, :size]
    return order.masked_fill(~there.gather(1, order), NONE)


def utility(labels: torch.Tensor, lists: torch.Tensor) -> torch.Tensor:
    """NDCG of lists [n, m] of places, against the best list of that length: float [n]."""
    gains = labels.gather(1, lists.clamp(min=0)).masked_fill(lists == NONE, 0.0)
    discounts = 1 / torch.arange(2, lists.shape[1] + 2, device=labels.device).log2()
    best = labels.sort(dim=1, descending=True).values[:, : lists.shape[1]]
    return (gains * discounts).sum(1) / (best * discounts[: best.shape[1]]).sum(1)
