"""Trains a pointer network to write, greedily, lists that the evaluator values.

DeGRe (2605.25749) mines lists l by beam search and learns, with y_t the item of a list at place t and p_t the
network's distribution over the candidates v that remain there,

    L = sum_l w_l sum_t [CE(y_t, p_t) + alpha KL(q_t || p_t)]
    w_l = softmax(score(l) / tau_w) over a slate's lists    q_t(v) = softmax(V(l_<t, v) / tau_q) over the remaining v

alpha 0 leaves CE only; tau_w inf weighs all lists alike. Two things are ours. tau_q is 1 in the paper. And labels, from
which there only the evaluator learns, can share the value of a prefix:

    V = (1 - label_weight) (the evaluator's V) + label_weight (the relevant items so far)

in the search, in w_l and in q_t, so that q_t is in proportion to q_evaluator^(1 - label_weight) q_labels^label_weight.
Without an evaluator the weight is 1. With a teacher there is one list, its own, and V is the logarithm of its
probabilities, in which labels have their share.

GoalRank (2509.22046): a group of random lists, a reference policy that is the softmax of their standardised scores, and
cross-entropy against it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import set_seed

from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.degre.evaluator import Evaluator
from gr2.rerankers.degre.inputs import EvaluatorInput, InputReader, SlateFeatures
from gr2.rerankers.degre.judge import Judge
from gr2.rerankers.degre.mining import MinedLists, mine
from gr2.rerankers.list_writer import train as writer
from gr2.rerankers.list_writer.batch import NONE, from_request, read_labels
from gr2.rerankers.list_writer.network import ListWriter, remaining
from gr2.rerankers.list_writer.train import ListTrainer, requests_of
from gr2.rerankers.settings import Lists, Training
from gr2.rerankers.train import Examples, train_best
from gr2.terminal import show_progress

BLOCK = 32  # requests mined at a time

Find = Callable[[EvaluatorInput, Tensor], MinedLists]  # slates and their labels [n, K] -> lists to learn


@dataclass(frozen=True)
class Example:
    """A slate and the lists to learn from it; `mined` without its first dimension."""

    slate: Slate
    mined: MinedLists


def train_generator(
    trainer_class: type["GeneratorTrainer"],
    find: Find,
    lists: Lists,
    training: Training,
    judge: Judge,
    known: Tensor | None = None,
    **others: Any,
) -> None:
    """Learns the lists that `find` finds; keeps the epoch whose lists of valid slates have the highest scores. known:
    of the codes, as `read_known` has it.
    """
    set_seed(training.seed)
    model = writer.new_network("pointer", lists, training, known)
    if judge.evaluator:
        check_shape(judge.evaluator, model)
    reader = judge.reader(lists.catalogue, model.config.history)
    examples = []
    starts = range(0, len(lists.train), BLOCK)
    for start in show_progress(starts, "lists to learn", len(starts), "blocks"):
        examples += add_lists(lists.train[start : start + BLOCK], find, reader)
    valid = Examples(reader.add_features(lists.valid))
    write = partial(writer.collate, catalogue=lists.catalogue, history=model.config.history)
    others |= {"judge": judge, "data_collator": partial(collate, write=write, reader=reader)}
    train_best(model, Examples(examples), valid, training, "score", trainer_class, ["labels"], **others)


def check_shape(evaluator: Evaluator, model: ListWriter) -> None:
    """InputError unless both networks read the same."""
    for name in ("levels", "codes", "list_size", "history"):
        found, expected = vars(evaluator.config)[name], vars(model.config)[name]
        if found != expected:
            path = evaluator.name_or_path
            raise InputError(f"{path}: its {name} is {found}; expected {expected}, by these slates and options")


def add_lists(slates: list[Slate], find: Find, reader: InputReader) -> list[Example]:
    seen = reader.read(reader.add_features(slates))
    with torch.no_grad():
        found = find(seen, read_labels(slates, seen.candidates.shape[1]))
    return [Example(slate, MinedLists(*(part[row] for part in found))) for row, slate in enumerate(slates)]


def collate(examples: list[SlateFeatures] | list[Example], write: Callable, reader: InputReader) -> dict:
    """Valid slates, with what a judge reads of them in `seen`, or train examples, which have `lists`, `scores` and
    `values` as `MinedLists` has them.
    """
    inputs = write([example.slate for example in examples])
    if isinstance(examples[0], SlateFeatures):
        return inputs | {"seen": reader.read(examples)._asdict()}
    width = inputs["labels"].shape[1]
    values = [example.mined.values[..., : len(example.slate.candidates)] for example in examples]
    return inputs | {
        "lists": torch.stack([example.mined.lists for example in examples]),
        "scores": torch.stack([example.mined.scores for example in examples]),
        "values": torch.stack([pad(of_slate, (0, width - of_slate.shape[-1])) for of_slate in values]),
    }


def mine_lists(seen: EvaluatorInput, labels: Tensor, judge: Judge, size: int, beams: int) -> MinedLists:
    return mine(judge.lookahead(seen, labels), seen.mask, size, beams)


def copy_lists(seen: EvaluatorInput, labels: Tensor, size: int) -> MinedLists:
    """A teacher's list of each request: labels are its probabilities of candidates to be first (`read_teacher_slates`).

    The values are their logarithms, so that q_t with tau_q 1 is how Plackett-Luce chooses among those that are left.
    """
    lists = writer.reference_lists(labels, seen.mask, size)
    lists = pad(lists, (0, size - lists.shape[1]), value=NONE)
    values = labels.clamp(min=torch.finfo(labels.dtype).tiny).log()
    return MinedLists(
        lists[:, None],
        lists.new_zeros(len(lists), 1, dtype=labels.dtype),
        values[:, None, None].expand(-1, -1, size, -1),
    )


def draw_group(seen: EvaluatorInput, labels: Tensor, judge: Judge, size: int, group: int) -> MinedLists:
    """`group` random lists of each request; their values are 0."""
    mask = seen.mask[:, None]
    noise = torch.rand(len(labels), group, labels.shape[1], device=labels.device).masked_fill(~mask, 2.0)
    lists = noise.argsort(2)[..., :size]
    lists = lists.masked_fill(~mask.expand_as(noise).gather(2, lists), NONE)
    scores = judge.scores(seen, labels, lists)
    return MinedLists(lists, scores, torch.zeros(*lists.shape, labels.shape[1], device=lists.device))


class GeneratorTrainer(ListTrainer):
    """Validates with the judge's value of each list."""

    def __init__(self, *args: Any, judge: Judge, **others: Any):
        super().__init__(*args, **others)
        self.judge = judge
        if judge.evaluator:
            judge.evaluator.to(self.args.device)

    def value(self, inputs: dict, lists: Tensor) -> Tensor:
        return self.judge.scores(EvaluatorInput(**inputs["seen"]), inputs["labels"], lists[:, None])[:, 0]

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
