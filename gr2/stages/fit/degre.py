"""gr2 fit degre: a list writer learns the lists that an evaluator's beam search finds (DeGRe, 2605.25749)."""

import math
from dataclasses import dataclass
from functools import partial

from gr2.options.declare import arg
from gr2.rerankers.record import write_record
from gr2.stages.fit.shared import Judged, read_lists

WRITES = ("config.json", "model.safetensors", "training_log.jsonl", "reranker.json")


@dataclass(kw_only=True)
class Config(Judged):
    beams: int = arg(8, "lists mined for each slate", least=1)
    alpha: float = arg(1.0, "weight of the evaluator's distribution over candidates; 0: cross-entropy only", least=0)
    tau_w: float = arg(0.1, "temperature of the lists' weights; inf: all the same", above=0, most=math.inf)
    tau_q: float = arg(0.1, "temperature of the evaluator's distribution", above=0)


def run(config: Config) -> None:
    """Reads train and valid slates; writes the network of the epoch whose lists the evaluator scores highest."""
    from gr2.rerankers.degre.evaluator import open_evaluator
    from gr2.rerankers.degre.train_generator import DeGReTrainer, mine_lists, train_generator

    # read
    lists = read_lists(config)
    evaluator = open_evaluator(config.evaluator, lists.catalogue) if config.evaluator else None

    # examples, trainer
    find = partial(mine_lists, evaluator=evaluator, size=config.list_size, beams=config.beams)
    loss = {name: vars(config)[name] for name in ("alpha", "tau_w", "tau_q")}
    train_generator(DeGReTrainer, find, lists, config.training, evaluator, **loss)

    # write
    write_record(config.output_dir, "degre", lists.catalogue)
