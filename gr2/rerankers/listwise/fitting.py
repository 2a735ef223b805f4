"""What the trainings of rerankers that write lists share: slates as batches, and the checkpoint that is best on validation."""

from collections.abc import Callable

import torch
from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, TrainingArguments

from gr2.data.catalogue import Catalogue
from gr2.rerankers.fit import Config
from gr2.rerankers.listwise import requests
from gr2.rerankers.listwise.requests import NONE
from gr2.training import train

METRIC = "ndcg"  # of the written lists, at their length


class Slates(Dataset):
    """Slates as they are; a collator makes the tensors."""

    def __init__(self, slates: list[dict]):
        self.slates = slates

    def __len__(self) -> int:
        return len(self.slates)

    def __getitem__(self, index: int) -> dict:
        return self.slates[index]


class Collator:
    """Slates -> history, candidates, labels and reference lists; `shuffled`: candidates in an order of their own each time."""

    def __init__(self, catalogue: Catalogue, history: int, list_size: int, shuffled: bool):
        self.catalogue, self.history, self.list_size, self.shuffled = catalogue, history, list_size, shuffled

    def __call__(self, slates: list[dict]) -> dict[str, torch.Tensor]:
        width = max(len(slate["candidates"]) for slate in slates)
        asked = requests.read(slates, self.catalogue, self.history)
        labels = requests.labels(slates, width)
        order = torch.arange(width).expand(len(slates), -1)
        lists = reference_lists(labels, asked.there, self.list_size)
        if self.shuffled:  # padding stays last, so that a request's places are those of its candidates
            order = torch.rand(len(slates), width).masked_fill(~asked.there, 2.0).argsort(1)
            lists = order.argsort(1).gather(1, lists.clamp(min=0)).masked_fill(lists == NONE, NONE)
        candidates = asked.candidates.gather(1, order[..., None].expand_as(asked.candidates))
        return {"history": asked.history, "candidates": candidates, "labels": labels.gather(1, order), "lists": lists}


def reference_lists(labels: torch.Tensor, there: torch.Tensor, size: int) -> torch.Tensor:
    """Labels [n, K] -> lists int64 [n, size] of places: the most relevant first, equal ones in the slate's order, NONE where
    a slate has no more. Ours: how GloRank's reference lists are made is not published.
    """
    order = labels.masked_fill(~there, -1.0).argsort(dim=1, descending=True, stable=True)[:, :size]
    return order.masked_fill(~there.gather(1, order), NONE)


def utility(labels: torch.Tensor, lists: torch.Tensor) -> torch.Tensor:
    """NDCG of lists [n, m] of places, against the best list of that length: float [n]."""
    gains = labels.gather(1, lists.clamp(min=0)).masked_fill(lists == NONE, 0.0)
    discounts = 1 / torch.arange(2, lists.shape[1] + 2, device=labels.device).log2()
    best = labels.sort(dim=1, descending=True).values[:, : lists.shape[1]]
    return (gains * discounts).sum(1) / (best * discounts[: best.shape[1]]).sum(1)


def fit(trainer_class: type[Trainer], model, learned: list[dict], judged: list[dict], collators: tuple[Callable, Callable],
        config: Config, **others) -> None:  # fmt: skip
    """Trains until validation has not been better for `patience` epochs; the best epoch's model is written."""
    print(
        f"{model.num_parameters():,} parameters, {len(learned)} slates to learn, {len(judged)} to judge by", flush=True
    )
    arguments = TrainingArguments(
        output_dir=config.output_dir,
        seed=config.seed,
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=256,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=METRIC,
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,  # a killed training is as patient as a whole one
        remove_unused_columns=False,
        label_names=["labels"],
        report_to="none",
    )
    trainer = trainer_class(model, arguments, train_dataset=Slates(learned), eval_dataset=Slates(judged),
                            data_collator=collators[0], compute_metrics=measured,
                            callbacks=[EarlyStoppingCallback(config.patience)], **others)  # fmt: skip
    trainer.judging = collators[1]
    train(trainer)


def measured(prediction: EvalPrediction) -> dict[str, float]:
    return {METRIC: float(prediction.predictions.mean())}
