"""Trains a pointer network to write, greedily, lists that the evaluator values.

DeGRe (2605.25749): lists are mined by beam search, w_l = softmax(score / tau_w) over a request's lists, q_t =
softmax(V / tau_q) over its remaining candidates, L = sum_l w_l sum_t [CE(y_t, p_t) + alpha KL(q_t || p_t)]. alpha 0
leaves CE only, tau_w inf weighs all lists alike, and without an evaluator the labels are one that is always right.
tau_q is ours (the paper: 1). With a teacher there is one list, its own, and V is the logarithm of its probabilities.
GoalRank (2509.22046): a group of random lists, a reference policy that is the softmax of
their standardised scores, and cross-entropy against it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import set_seed

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.degre.evaluator import Evaluator
from gr2.rerankers.degre.lookahead import Labels, Lookahead, score_lists
from gr2.rerankers.degre.mining import Mined, mine
from gr2.rerankers.list_writer import train as writer
from gr2.rerankers.list_writer.batch import NONE, Requests, from_request
from gr2.rerankers.list_writer.network import ListWriter, remaining
from gr2.rerankers.list_writer.train import ListTrainer, requests_of, train_writer
from gr2.rerankers.settings import Lists, Training
from gr2.rerankers.train import Examples
from gr2.terminal import watched

BLOCK = 32  # requests mined at a time

Find = Callable[[Requests, Tensor], Mined]  # requests and labels [n, K] -> lists to learn


@dataclass(frozen=True)
class Example:
    """A slate and the lists to learn from it; `mined` without its first dimension."""

    slate: Slate
    mined: Mined


def train_generator(
    trainer_class: type["GeneratorTrainer"],
    find: Find,
    lists: Lists,
    training: Training,
    evaluator: Evaluator | None,
    **others: Any,
) -> None:
    """Learns the lists that `find` finds; keeps the epoch whose lists of valid slates have the highest scores."""
    set_seed(training.seed)
    model = writer.new_network("pointer", lists, training)
    if evaluator:
        check_shape(evaluator, model)
    examples = []
    starts = range(0, len(lists.train), BLOCK)
    for start in watched(starts, "lists to learn", len(starts), "blocks"):
        examples += add_lists(lists.train[start : start + BLOCK], find, lists.catalogue, lists.history)
    others |= {"evaluator": evaluator, "collator": collate, "metric": "score"}
    train_writer(trainer_class, model, Examples(examples), lists, training, **others)


def check_shape(evaluator: Evaluator, model: ListWriter) -> None:
    """InputError unless both networks read the same."""
    for name in ("levels", "codes", "list_size", "history"):
        found, expected = vars(evaluator.config)[name], vars(model.config)[name]
        if found != expected:
            path = evaluator.name_or_path
            raise InputError(f"{path}: its {name} is {found}; expected {expected}, by these slates and options")


def add_lists(slates: list[Slate], find: Find, catalogue: Catalogue, history: int) -> list[Example]:
    inputs = writer.collate(slates, catalogue, history)
    with torch.no_grad():
        found = find(requests_of(inputs), inputs["labels"])
    return [Example(slate, Mined(*(part[row] for part in found))) for row, slate in enumerate(slates)]


def collate(examples: list[Slate] | list[Example], catalogue: Catalogue, history: int) -> dict[str, Tensor]:
    """Valid slates, or train examples, which also have `lists`, `scores` and `values` as `Mined` has them."""
    if isinstance(examples[0], Slate):
        return writer.collate(examples, catalogue, history)
    inputs = writer.collate([example.slate for example in examples], catalogue, history)
    width = inputs["labels"].shape[1]
    values = [example.mined.values[..., : len(example.slate.candidates)] for example in examples]
    return inputs | {
        "lists": torch.stack([example.mined.lists for example in examples]),
        "scores": torch.stack([example.mined.scores for example in examples]),
        "values": torch.stack([pad(of_slate, (0, width - of_slate.shape[-1])) for of_slate in values]),
    }


def mine_lists(requests: Requests, labels: Tensor, evaluator: Evaluator | None, size: int, beams: int) -> Mined:
    lookahead = Lookahead(evaluator, requests) if evaluator else Labels(labels)
    return mine(lookahead, requests.mask, size, beams)


def copy_lists(requests: Requests, labels: Tensor, size: int) -> Mined:
    """A teacher's list of each request: labels are its probabilities of candidates to be first (`read_taught`).

    The values are their logarithms, so that q_t with tau_q 1 is how Plackett-Luce chooses among those that are left.
    """
    lists = writer.reference_lists(labels, requests.mask, size)
    lists = pad(lists, (0, size - lists.shape[1]), value=NONE)
    values = labels.clamp(min=torch.finfo(labels.dtype).tiny).log()
    return Mined(
        lists[:, None],
        lists.new_zeros(len(lists), 1, dtype=labels.dtype),
        values[:, None, None].expand(-1, -1, size, -1),
    )


def draw_group(requests: Requests, labels: Tensor, evaluator: Evaluator | None, size: int, group: int) -> Mined:
    """`group` random lists of each request; their values are 0."""
    mask = requests.mask[:, None]
    noise = torch.rand(len(labels), group, labels.shape[1], device=labels.device).masked_fill(~mask, 2.0)
    lists = noise.argsort(2)[..., :size]
    lists = lists.masked_fill(~mask.expand_as(noise).gather(2, lists), NONE)
    scores = score_lists(evaluator, requests, labels, lists)
    return Mined(lists, scores, torch.zeros(*lists.shape, labels.shape[1], device=lists.device))


class GeneratorTrainer(ListTrainer):
    """The evaluator says what validation's lists are worth."""

    def __init__(self, *args: Any, evaluator: Evaluator | None, **others: Any):
        super().__init__(*args, **others)
        self.evaluator = evaluator and evaluator.to(self.args.device)

    def value(self, inputs: dict, lists: Tensor) -> Tensor:
        return score_lists(self.evaluator, requests_of(inputs), inputs["labels"], lists[:, None])[:, 0]

    def list_losses(self, model, inputs: dict, alpha: float, tau_q: float) -> Tensor:
        """`dense_loss` of every list, float [n, B]."""
        count = inputs["lists"].shape[1]
        encoded = model.encode(requests_of(inputs)).repeat(count)
        lists = from_request(inputs["lists"].flatten(0, 1), encoded.order)
        order = encoded.order[:, None].expand(-1, lists.shape[1], -1)
        values = inputs["values"].flatten(0, 1).gather(2, order)
        left = remaining(encoded.mask, lists)
        losses = dense_loss(model.distributions(encoded, lists), lists, values, left, alpha, tau_q)
        return losses.view(-1, count)


class DeGReTrainer(GeneratorTrainer):
    def __init__(self, *args: Any, alpha: float, tau_w: float, tau_q: float, **others: Any):
        super().__init__(*args, **others)
        self.alpha, self.tau_w, self.tau_q = alpha, tau_w, tau_q

    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, **_):
        losses = self.list_losses(model, inputs, self.alpha, self.tau_q)
        return ((inputs["scores"] / self.tau_w).softmax(1) * losses).sum(1).mean()


class GoalRankTrainer(GeneratorTrainer):
    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, **_):
        losses, scores = self.list_losses(model, inputs, alpha=0.0, tau_q=1.0), inputs["scores"]
        standard = (scores - scores.mean(1, keepdim=True)) / (scores.std(1, keepdim=True) + 1e-6)
        return (standard.softmax(1) * losses).sum(1).mean()


def dense_loss(logp: Tensor, lists: Tensor, values: Tensor, left: Tensor, alpha: float, tau_q: float) -> Tensor:
    """sum_t [CE(y_t, p_t) + alpha KL(q_t || p_t)] of each list, float [n].

    logp, values: float [n, m, K], log P and V of the candidates; lists: int64 [n, m]; left: bool [n, m, K].
    """
    loss = -logp.gather(2, lists.clamp(min=0)[..., None]).squeeze(2)
    if alpha > 0:
        logq = (values / tau_q).masked_fill(~left, torch.finfo(values.dtype).min).log_softmax(2)
        loss = loss + alpha * (logq.exp() * (logq - logp)).masked_fill(~left, 0.0).sum(2)
    return loss.masked_fill(lists == NONE, 0.0).sum(1)
