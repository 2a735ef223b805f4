"""gr2 fit evaluator: the Lookahead Evaluator of DeGRe (2605.25749) learns what lists are worth.

It ranks nothing: `gr2 fit degre` and `gr2 fit goalrank` learn from it, and `gr2 evaluate` measures agreement with it.
"""

from dataclasses import dataclass

from gr2.options.declare import arg
from gr2.rerankers.record import write_record
from gr2.stages.fit.shared import ListWriting, read_lists

WRITES = ("config.json", "model.safetensors", "training_log.jsonl", "reranker.json")


@dataclass(kw_only=True)
class Config(ListWriting):
    group: int = arg(8, "random lists drawn for each slate", least=2)


def run(config: Config) -> None:
    """Reads train and valid slates; writes the network of the epoch with the highest likelihood on valid lists."""
    from gr2.rerankers.degre.train_evaluator import train_evaluator

    # read
    lists = read_lists(config)

    # trainer
    train_evaluator(lists, config.training, config.group)

    # write
    write_record(config.output_dir, "evaluator", lists.catalogue)
