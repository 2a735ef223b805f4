"""`gr2 fit --kind evaluator`: the Lookahead Evaluator learns from lists as a system that explores would have shown them.

Public data holds no lists that were shown. Ours: random lists of a slate's candidates. Labels have no part in drawing them, so that
P(V >= k) is not bent towards good lists.
"""

import random
from functools import partial

import numpy as np
import torch
from transformers import EvalPrediction, set_seed

from gr2.data.catalogue import Catalogue
from gr2.files.slates import Slate
from gr2.rerankers.degre.evaluator import Evaluator, EvaluatorConfig
from gr2.rerankers.list_writer import batch as requests
from gr2.rerankers.list_writer.batch import NONE
from gr2.rerankers.list_writer.train import shape
from gr2.rerankers.training import Slates, keep_best
from gr2.stages.fit import Config

Listed = tuple[Slate, list[list[int]]]
JUDGED_LISTS = 4


class Shown(Slates):
    """Slates with new lists each time; torch's own seed decides."""

    def __init__(self, slates: list[Slate], size: int, count: int):
        super().__init__(slates)
        self.size, self.count = size, count

    def __getitem__(self, index: int) -> dict:
        return listed(self.slates[index], self.size, self.count, int(torch.randint(2**31, ())))


def listed(slate: Slate, size: int, count: int, seed: int) -> Listed:
    """The slate and `count` lists of places; the same for the same seed."""
    rng, places = random.Random(seed), range(len(slate.candidates))
    return slate, [rng.sample(places, min(size, len(places))) for _ in range(count)]


def fit(learned: list[Slate], judged: list[Slate], catalogue: Catalogue, config: Config) -> None:
    """Keeps the epoch with the highest likelihood of the outcomes of lists of `judged`."""
    set_seed(config.seed)
    model = Evaluator(EvaluatorConfig(**shape(learned + judged, catalogue, config)))
    judged = [listed(slate, config.list_size, JUDGED_LISTS, number) for number, slate in enumerate(judged)]
    keep_best(model, Shown(learned, config.list_size, config.group), Slates(judged), config, "likelihood",
              label_names=["outcomes"], compute_metrics=measured,
              data_collator=partial(collate, catalogue=catalogue, history=model.config.history, size=config.list_size))  # fmt: skip


def collate(
    examples: list[tuple[Slate, list[list[int]]]], catalogue: Catalogue, history: int, size: int
) -> dict[str, torch.Tensor]:
    """Slates with lists -> history, candidates, lists int64 [n, lists, size], and outcomes, V of every prefix, like the lists."""
    slates, drawn = zip(*examples, strict=True)
    asked = requests.read(slates, catalogue, history)
    lists = torch.full((len(slates), len(drawn[0]), size), NONE)
    for rows, own in zip(lists, drawn, strict=True):
        rows[:, : len(own[0])] = torch.tensor(own)
    relevant = requests.labels(slates, asked.candidates.shape[1])[:, None].expand(-1, lists.shape[1], -1) > 0
    outcomes = (relevant.gather(2, lists.clamp(min=0)) & (lists != NONE)).cumsum(2)
    return {"history": asked.history, "candidates": asked.candidates, "lists": lists, "outcomes": outcomes}


def measured(prediction: EvalPrediction) -> dict[str, float]:
    size = prediction.predictions.shape[-1]
    return quality(prediction.predictions.reshape(-1, size), prediction.label_ids[..., -1].reshape(-1))


def quality(probabilities: np.ndarray, outcomes: np.ndarray) -> dict[str, float]:
    """P(V >= k) float [lists, Kmax] against V int [lists]: `likelihood`, mean log P of what came; `auc`, the mean over those k that
    came in some lists and not in others; `calibration_error`, in ten bins of equal width, weighted by their sizes (ECE).
    """
    from sklearn.metrics import roc_auc_score

    reached = outcomes[:, None] >= np.arange(1, probabilities.shape[1] + 1)
    right = np.where(reached, probabilities, 1 - probabilities).clip(1e-7)
    aucs = [
        roc_auc_score(came, said) for came, said in zip(reached.T, probabilities.T, strict=True) if 0 < came.mean() < 1
    ]
    bins = np.minimum((probabilities * 10).astype(int), 9)
    off = [abs((reached - probabilities)[bins == bin].sum()) for bin in range(10)]
    return {
        "likelihood": float(np.log(right).mean()),
        "auc": float(np.mean(aucs)) if aucs else float("nan"),
        "calibration_error": float(sum(off) / probabilities.size),
    }
