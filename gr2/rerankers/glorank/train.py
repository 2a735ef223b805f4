"""`gr2 fit --kind glorank`: behaviour cloning of reference lists, or, from a folder of it, reinforcement learning.

The second stage is GRPO's advantage on list-wise utility (2604.25291): several lists are drawn for each request, a list's advantage
is its NDCG against the mean of its group in units of the group's spread, and the gradient is that of the lists'
log-probabilities. Every list is used once, right where it was drawn, so nothing needs clipping.
"""

from functools import partial
from pathlib import Path

import torch
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, set_seed

from gr2.data.catalogue import Catalogue
from gr2.rerankers.fit import Config
from gr2.rerankers.glorank.model import GloRank, GloRankConfig
from gr2.rerankers.glorank.write import in_request_order, repeated, write
from gr2.rerankers.listwise import fitting, requests
from gr2.rerankers.listwise.requests import Requests
from gr2.rerankers.training import Slates, arguments
from gr2.training import train


def fit(learned: list[dict], judged: list[dict], catalogue: Catalogue, config: Config) -> None:
    """Trains on `learned`, keeps the epoch that is best on `judged`; every slate has a label above 0."""
    set_seed(config.seed)
    if config.model_name_or_path:
        model, trainer_class, others = (
            GloRank.from_pretrained(config.model_name_or_path),
            Reinforced,
            {"group": config.group},
        )
    else:
        model, trainer_class, others = GloRank(shape(learned + judged, catalogue, config)), Cloned, {}
    print(
        f"{model.num_parameters():,} parameters, {len(learned)} slates to learn, {len(judged)} to judge by", flush=True
    )
    learned, judged = (
        [fitting.referenced(slate, model.config.list_size) for slate in slates] for slates in (learned, judged)
    )
    train(trainer_class(model, arguments(config, fitting.METRIC, label_names=["labels"]),
                        train_dataset=(fitting.Shuffled if config.shuffle_candidates else Slates)(learned),
                        eval_dataset=Slates(judged), compute_metrics=measured,
                        data_collator=partial(fitting.collate, catalogue=catalogue, history=model.config.history),
                        callbacks=[EarlyStoppingCallback(config.patience)], **others))  # fmt: skip


def shape(slates: list[dict], catalogue: Catalogue, config: Config) -> GloRankConfig:
    return GloRankConfig(
        levels=catalogue.levels,
        codes=1 + max(max(codes) for codes in catalogue.codes.values()),
        space=config.space,
        candidates=max(len(slate["candidates"]) for slate in slates),
        list_size=config.list_size,
        history=max(1, max(len(slate["history"]) for slate in slates)),
        hidden_size=config.hidden_size,
        encoder_layers=config.layers,
        dropout=config.dropout,
    )


class Cloned(Trainer):
    """The loss is the network's own, -log P of the reference lists; validation writes lists."""

    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, **_):
        return model(inputs["history"], inputs["candidates"], inputs["lists"])["loss"]

    def prediction_step(self, model, inputs: dict, *_, **__) -> tuple:
        with torch.no_grad():
            asked = Requests(inputs["history"], inputs["candidates"])
            encoded = model.encode(asked)
            lists = in_request_order(write(model, encoded, model.config.list_size), encoded)
            loss = model(inputs["history"], inputs["candidates"], inputs["lists"])["loss"]
        return loss, fitting.utility(inputs["labels"], lists), inputs["labels"]


class Reinforced(Cloned):
    """`group` lists are drawn for each request; without dropout, so that they come from the policy that is trained."""

    def __init__(self, *args, group: int, **others):
        super().__init__(*args, **others)
        self.group = group

    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, **_):
        model.eval()
        generator = torch.Generator(inputs["labels"].device).manual_seed(
            self.args.seed * 1_000_003 + self.state.global_step
        )
        encoded = repeated(model.encode(Requests(inputs["history"], inputs["candidates"])), self.group)
        with torch.no_grad():
            lists = write(model, encoded, model.config.list_size, generator)
        rewards = fitting.utility(inputs["labels"].repeat_interleave(self.group, 0), in_request_order(lists, encoded))
        advantages = group_advantages(rewards, self.group)
        return -(advantages * model.log_probs(encoded, lists).sum(1)).mean()


def measured(prediction: EvalPrediction) -> dict[str, float]:
    return {fitting.METRIC: float(prediction.predictions.mean())}


def group_advantages(rewards: torch.Tensor, group: int) -> torch.Tensor:
    """Rewards [n * group], a request's side by side -> (reward - mean) / spread in the group; 0 where all are the same."""
    rows = rewards.view(-1, group)
    return ((rows - rows.mean(1, keepdim=True)) / (rows.std(1, keepdim=True) + 1e-6)).flatten()


def rank(slates: list[dict], catalogue: Catalogue, folder: str | Path, batch_size: int) -> list[list[str]]:
    """For each slate the list that the network writes, then the other candidates in their order."""
    model = GloRank.from_pretrained(folder).eval()
    rankings = []
    for start in range(0, len(slates), batch_size):
        part = slates[start : start + batch_size]
        with torch.inference_mode():
            encoded = model.encode(requests.read(part, catalogue, model.config.history))
            lists = in_request_order(write(model, encoded, model.config.list_size), encoded).tolist()
        for slate, places in zip(part, lists, strict=True):
            first = [slate["candidates"][place] for place in places if place != requests.NONE]
            rankings.append([*first, *(item_id for item_id in slate["candidates"] if item_id not in first)])
    return rankings
