"""gr2 fit goalrank: a list writer learns random lists, weighted by an evaluator (GoalRank, 2509.22046)."""

from dataclasses import dataclass
from functools import partial

from gr2.options.declare import arg
from gr2.rerankers.record import write_record
from gr2.stages.fit.list_writing import EvaluatorOptions, read_codes, read_judge, read_lists

WRITES = ("config.json", "model.safetensors", "training_log.jsonl", "reranker.json")


@dataclass(kw_only=True)
class Config(EvaluatorOptions):
    group: int = arg(8, "random lists drawn for each slate", least=2)


def run(config: Config) -> None:
    """Reads train and valid slates; writes the network of the epoch whose lists the evaluator scores highest."""
    from gr2.rerankers.degre.train_generator import GoalRankTrainer, draw_group, train_generator

    # read
    lists = read_lists(config)
    judge, known = read_judge(config, lists), read_codes(config, lists)

    # examples, trainer
    find = partial(draw_group, judge=judge, size=config.list_size, group=config.group)
    train_generator(GoalRankTrainer, find, lists, config.training, judge, known)

    # write
    write_record(config.output_dir, "goalrank", lists.catalogue)
