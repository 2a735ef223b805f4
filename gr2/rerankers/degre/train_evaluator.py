"""Trains the Lookahead Evaluator on lists as an exploring system would have shown them.

Public data holds no lists that were shown. Ours: random lists of a slate's candidates. Labels play no part in drawing
them, so P(V >= k) is not biased towards good lists.
"""

import random
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from transformers import EvalPrediction, set_seed

from gr2.data.catalogue import Catalogue
from gr2.files.slates import Slate
from gr2.rerankers.degre.evaluator import Evaluator, EvaluatorConfig
from gr2.rerankers.list_writer.batch import NONE, read_labels, read_requests
from gr2.rerankers.list_writer.train import shape_of
from gr2.rerankers.settings import Lists, Training
from gr2.rerankers.train import Examples, train_best

VALID_LISTS = 4


@dataclass(frozen=True)
class Shown:
    """A slate and lists of it, of indices of its candidates, all of one length."""

    slate: Slate
    lists: list[list[int]]


class Exploring(Examples):
    """Slates with new lists each time; torch's seed decides."""

    def __init__(self, slates: list[Slate], size: int, count: int):
        super().__init__(slates)
        self.size, self.count = size, count

    def __getitem__(self, index: int) -> Shown:
        return draw_lists(self.examples[index], self.size, self.count, int(torch.randint(2**31, ())))


def draw_lists(slate: Slate, size: int, count: int, seed: int) -> Shown:
    """`count` lists of `size` items, or of all where there are fewer; the same for the same seed."""
    rng, indices = random.Random(seed), range(len(slate.candidates))
    return Shown(slate, [rng.sample(indices, min(size, len(indices))) for _ in range(count)])


def train_evaluator(lists: Lists, training: Training, group: int) -> None:
    """Keeps the epoch with the highest likelihood on lists of valid slates. group: lists drawn for each train slate."""
    set_seed(training.seed)
    size = lists.list_size
    model = Evaluator(EvaluatorConfig(**shape_of(lists, training)))
    shown = Examples([draw_lists(slate, size, VALID_LISTS, seed) for seed, slate in enumerate(lists.valid)])
    collator = partial(collate, catalogue=lists.catalogue, history=model.config.history, size=size)
    others = {"label_names": ["outcomes"], "compute_metrics": compute_metrics, "data_collator": collator}
    train_best(model, Exploring(lists.train, size, group), shown, training, "likelihood", **others)


def collate(examples: list[Shown], catalogue: Catalogue, history: int, size: int) -> dict[str, Tensor]:
    """What `Evaluator.forward` takes."""
    slates = [example.slate for example in examples]
    requests = read_requests(slates, catalogue, history)
    lists = torch.full((len(slates), len(examples[0].lists), size), NONE)
    for rows, example in zip(lists, examples, strict=True):
        rows[:, : len(example.lists[0])] = torch.tensor(example.lists)
    relevant = read_labels(slates, requests.candidates.shape[1])[:, None].expand(-1, lists.shape[1], -1) > 0
    outcomes = (relevant.gather(2, lists.clamp(min=0)) & (lists != NONE)).cumsum(2)
    return requests._asdict() | {"lists": lists, "outcomes": outcomes}


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    size = prediction.predictions.shape[-1]
    return measure_quality(prediction.predictions.reshape(-1, size), prediction.label_ids[..., -1].reshape(-1))


def measure_quality(probabilities: np.ndarray, outcomes: np.ndarray) -> dict[str, float]:
    """P(V >= k) float [lists, Kmax] against V int [lists]: `likelihood`, mean log P of the outcomes; `auc`, the mean
    over those k that some lists reach and others do not; `calibration_error`, in ten bins of equal width, weighted by
    size (ECE).
    """
    from sklearn.metrics import roc_auc_score

    reached = outcomes[:, None] >= np.arange(1, probabilities.shape[1] + 1)
    likelihoods = np.where(reached, probabilities, 1 - probabilities).clip(1e-7)
    mixed = [k for k, share in enumerate(reached.mean(0)) if 0 < share < 1]
    aucs = [roc_auc_score(reached[:, k], probabilities[:, k]) for k in mixed]
    bins = np.minimum((probabilities * 10).astype(int), 9)
    errors = [abs((reached - probabilities)[bins == bin].sum()) for bin in range(10)]
    return {
        "likelihood": float(np.log(likelihoods).mean()),
        "auc": float(np.mean(aucs)) if aucs else float("nan"),
        "calibration_error": float(sum(errors) / probabilities.size),
    }
