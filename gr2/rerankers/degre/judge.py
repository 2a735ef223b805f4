"""What gives the value of lists: an evaluator, the labels, or both, each with a share."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gr2.data.catalogue import Catalogue
from gr2.data.features import Features, load_features
from gr2.errors import InputError
from gr2.rerankers.degre.evaluator import Evaluator, open_evaluator
from gr2.rerankers.degre.inputs import EvaluatorInput, InputReader
from gr2.rerankers.degre.lookahead import Labels, Lookahead, ValueMixture, score_lists


@dataclass(frozen=True)
class Judge:
    """The value of a prefix is (1 - label_weight) V + label_weight y, where V is how many of its items will be relevant
    by the evaluator, and y how many are by the labels; without an evaluator it is y.
    """

    evaluator: Evaluator | None = None
    features: Features | None = None  # for an evaluator that reads features
    label_weight: float = 0.0

    def reader(self, catalogue: Catalogue, history: int) -> InputReader:
        names = tuple(self.evaluator.config.features) if self.evaluator else ()
        return InputReader(catalogue, history, names, self.features)

    def lookahead(self, seen: EvaluatorInput, labels: Tensor) -> Lookahead | Labels | ValueMixture:
        if not self.evaluator:
            return Labels(labels)
        lookahead = Lookahead(self.evaluator, seen)
        return ValueMixture(lookahead, Labels(labels), self.label_weight) if self.label_weight else lookahead

    def scores(self, seen: EvaluatorInput, labels: Tensor, lists: Tensor) -> Tensor:
        """Of lists of indices int64 [n, lists, m]: float [n, lists]."""
        by_labels = score_lists(None, seen, labels, lists)
        if not self.evaluator:
            return by_labels
        return torch.lerp(score_lists(self.evaluator, seen, labels, lists), by_labels, self.label_weight)


def open_judge(
    folder: str, catalogue: Catalogue, files: tuple[str, str | None, str | None], label_weight: float = 0.0
) -> Judge:
    """files: items.parquet, and interactions.parquet and embeddings.safetensors for an evaluator that reads features;
    InputError where they are missing then.
    """
    evaluator = open_evaluator(folder, catalogue)
    if not evaluator.config.features:
        return Judge(evaluator, None, label_weight)
    if not all(files):
        raise InputError(f"--evaluator {folder}: it reads features; expected --interactions and --embeddings")
    return Judge(evaluator, load_features(*files), label_weight)
