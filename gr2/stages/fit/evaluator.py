"""gr2 fit evaluator: the Lookahead Evaluator of DeGRe (2605.25749) learns the value of lists.

It ranks nothing: `gr2 fit degre` and `gr2 fit goalrank` learn from it, and `gr2 evaluate` measures agreement with it.
"""

from dataclasses import dataclass

from gr2.data.features import load_features
from gr2.errors import InputError
from gr2.options.declare import arg
from gr2.rerankers.record import write_record
from gr2.stages.fit.list_writing import EvaluatorFeatureOptions, read_codes, read_lists

WRITES = ("config.json", "model.safetensors", "training_log.jsonl", "reranker.json")


@dataclass(kw_only=True)
class Config(EvaluatorFeatureOptions):
    group: int = arg(8, "random lists drawn for each slate", least=2)
    features: bool = arg(False, "read all features of the candidates; expects --interactions and --embeddings")
    vectors: str | None = arg(None, "read the item vectors of a pre-ranker, a folder of `gr2 sasrec`", path=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features and not (self.interactions and self.embeddings):
            raise InputError("fit evaluator: expected --interactions and --embeddings with --features true")


def run(config: Config) -> None:
    """Reads train and valid slates; writes the network of the epoch with the highest likelihood on valid lists."""
    from gr2.rerankers.degre.train_evaluator import train_evaluator
    from gr2.retrieval.sasrec import read_vectors

    # read
    lists = read_lists(config)
    features = load_features(config.items, config.interactions, config.embeddings) if config.features else None
    vectors = read_vectors(config.vectors, lists.catalogue.item_ids) if config.vectors else None

    # trainer
    train_evaluator(lists, config.training, config.group, features, vectors, read_codes(config, lists))

    # write
    write_record(config.output_dir, "evaluator", lists.catalogue)
