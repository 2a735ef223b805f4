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

from gr2.data.features import Features, find_names
from gr2.rerankers.degre.evaluator import Evaluator, EvaluatorConfig
from gr2.rerankers.degre.inputs import InputReader, SlateFeatures
from gr2.rerankers.list_writer.batch import NONE, read_labels
from gr2.rerankers.list_writer.train import FoldingTrainer, shape_of
from gr2.rerankers.settings import Lists, Training
from gr2.rerankers.train import Examples, train_best

VALID_LISTS = 4


@dataclass(frozen=True)
class ListExample:
    """A slate and lists of it, of indices of its candidates, all of one length."""

    known: SlateFeatures
    lists: list[list[int]]


class RandomLists(Examples):
    """Slates with new lists each time; torch's seed decides."""

    def __init__(self, known: list[SlateFeatures], size: int, count: int):
        super().__init__(known)
        self.size, self.count = size, count

    def __getitem__(self, index: int) -> ListExample:
        return draw_lists(self.examples[index], self.size, self.count, int(torch.randint(2**31, ())))


def draw_lists(known: SlateFeatures, size: int, count: int, seed: int) -> ListExample:
    """`count` lists of `size` items, or of all where there are fewer; the same for the same seed."""
    rng, indices = random.Random(seed), range(len(known.slate.candidates))
    return ListExample(known, [rng.sample(indices, min(size, len(indices))) for _ in range(count)])


def train_evaluator(
    lists: Lists,
    training: Training,
    group: int,
    features: Features | None = None,
    vectors: Tensor | None = None,
    codes: Tensor | None = None,
) -> None:
    """Keeps the epoch with the highest likelihood on lists of valid slates.

    group: lists drawn for each train slate; features: to read all that the slates have; vectors: float [items, size],
    of the catalogue's items; codes: what is known of them, as `read_known` has it.
    """
    set_seed(training.seed)
    names = find_names(lists.train) if features else ()
    model = new_evaluator(lists, training, names, vectors, codes)
    reader, size = InputReader(lists.catalogue, model.config.history, names, features), lists.list_size
    train = reader.add_features(lists.train)
    if names:
        table = torch.from_numpy(np.concatenate([known.features for known in train]))
        model.mean.copy_(table.mean(0))
        model.scale.copy_(table.std(0) + 1e-9)
    valid = enumerate(reader.add_features(lists.valid))
    shown = Examples([draw_lists(known, size, VALID_LISTS, seed) for seed, known in valid])
    collator = partial(collate, reader=reader, size=size)
    others = {"label_names": ["outcomes"], "compute_metrics": compute_metrics, "data_collator": collator}
    train_best(model, RandomLists(train, size, group), shown, training, "likelihood", FoldingTrainer, **others)


def new_evaluator(
    lists: Lists,
    training: Training,
    names: tuple[str, ...] = (),
    vectors: Tensor | None = None,
    codes: Tensor | None = None,
) -> Evaluator:
    """Untrained; knows the catalogue."""
    ids = torch.tensor([lists.catalogue.codes[item_id] for item_id in lists.catalogue.item_ids])
    widths = {
        name: 0 if known is None else known.shape[1] for name, known in (("vector_size", vectors), ("known", codes))
    }
    model = Evaluator(EvaluatorConfig(items=len(ids), features=names, **widths, **shape_of(lists, training)))
    model.ids.copy_(ids)
    if vectors is not None:
        model.vectors.copy_(vectors / vectors.std())
    if codes is not None:
        model.code.start_from(codes)
    return model


def collate(examples: list[ListExample], reader: InputReader, size: int) -> dict[str, Tensor]:
    """What `Evaluator.forward` takes."""
    seen = reader.read([example.known for example in examples])
    lists = torch.full((len(examples), len(examples[0].lists), size), NONE)
    for rows, example in zip(lists, examples, strict=True):
        rows[:, : len(example.lists[0])] = torch.tensor(example.lists)
    labels = read_labels([example.known.slate for example in examples], seen.candidates.shape[1])
    relevant = labels[:, None].expand(-1, lists.shape[1], -1) > 0
    outcomes = (relevant.gather(2, lists.clamp(min=0)) & (lists != NONE)).cumsum(2)
    return seen._asdict() | {"lists": lists, "outcomes": outcomes}


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
