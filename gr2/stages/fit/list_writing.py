"""Options that list writers and the evaluator share, and what they learn from and are told."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.options.declare import arg
from gr2.rerankers.settings import Lists
from gr2.stages.fit.shared import Network, read_train_and_valid
from gr2.stages.shared import SemanticIdOptions

if TYPE_CHECKING:  # torch takes seconds to import
    from torch import Tensor

    from gr2.rerankers.degre.judge import Judge


@dataclass(kw_only=True)
class ListWriterOptions(Network, SemanticIdOptions):
    """Of list writers and of the evaluator of their lists."""

    list_size: int | None = arg(None, "items of a list; 6 where not given", least=1)
    history: int | None = arg(None, "read the latest N items of a user's history; 50 where not given", least=0)


@dataclass(kw_only=True)
class CodebookOptions(ListWriterOptions):
    """Of those that can know something of the codes before they see a list."""

    codebooks: str | None = arg(
        None,
        "start the codes' vectors from this folder of `gr2 sids`: its codebooks, projected to the width",
        path=True,
    )
    midtrained: str | None = arg(
        None,
        "start them from this mid-trained model's rows of the codes' tokens, projected; with codebooks: from both",
        path=True,
    )


@dataclass(kw_only=True)
class EvaluatorFeatureOptions(CodebookOptions):
    """Of an evaluator, and of those who ask it: what it reads features from."""

    interactions: str | None = arg(
        None, "interactions.parquet, for an evaluator that reads features", path="interactions.parquet"
    )
    embeddings: str | None = arg(
        None, "embeddings.safetensors, for an evaluator that reads features", path="embeddings.safetensors"
    )


@dataclass(kw_only=True)
class EvaluatorOptions(EvaluatorFeatureOptions):
    """Of list writers that learn from an evaluator."""

    evaluator: str | None = arg(None, "a folder of `gr2 fit evaluator`; without it labels are the values", path=True)
    label_weight: float = arg(
        0.0, "the labels' share of a list's value; the rest is the evaluator's or teacher's", least=0, most=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_weight and not (self.evaluator or vars(self).get("teacher")):
            reason = "alone, labels have the whole weight"
            raise InputError(f"--label_weight {self.label_weight}: expected an evaluator or a teacher: {reason}")


def read_lists(config: ListWriterOptions) -> Lists:
    """Train and valid slates with the catalogue; InputError for lists that are longer than every train slate."""
    train, valid = read_train_and_valid(config)
    catalogue = read_catalogue(config.items, config.semantic_ids)
    longest = max(len(slate.candidates) for slate in train)
    if config.list_size and config.list_size > longest:
        expected = f"expected at most {longest}, the candidates of the longest train slate of {config.slates}"
        raise InputError(f"--list_size {config.list_size}: {expected}")
    return Lists(train, valid, catalogue, config.list_size, config.history)


def read_judge(config: EvaluatorOptions, lists: Lists) -> "Judge":
    """What gives the value of lists; InputError for files that it needs and are not given."""
    from gr2.rerankers.degre.judge import Judge, open_judge

    if not config.evaluator:
        return Judge()
    files = config.items, config.interactions, config.embeddings
    return open_judge(config.evaluator, lists.catalogue, files, config.label_weight)


def read_codes(config: CodebookOptions, lists: Lists) -> "Tensor | None":
    """What is known of the codes before any list is seen."""
    from gr2.rerankers.list_writer.codes import read_known

    return read_known(lists.catalogue, config.semantic_ids, config.codebooks, config.midtrained)
