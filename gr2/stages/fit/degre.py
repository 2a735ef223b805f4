"""gr2 fit degre: a list writer learns the lists that an evaluator's beam search finds (DeGRe, 2605.25749).

With --teacher it learns another reranker's lists, say a language model's, and its probabilities at every step. Without
either it learns the labels, and with --label_weight both.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

from gr2.errors import InputError
from gr2.options.declare import arg
from gr2.rerankers.record import write_record
from gr2.stages.fit.list_writing import EvaluatorOptions, read_codes, read_judge, read_lists
from gr2.stages.fit.shared import TeacherOptions, read_teacher

WRITES = ("config.json", "model.safetensors", "training_log.jsonl", "reranker.json")


@dataclass(kw_only=True)
class Config(EvaluatorOptions, TeacherOptions):
    beams: int = arg(8, "lists mined for each slate", least=1)
    alpha: float = arg(
        1.0, "weight of the evaluator's or teacher's distribution over candidates; 0: cross-entropy only", least=0
    )
    tau_w: float = arg(0.1, "temperature of the lists' weights; inf: all the same", above=0, most=math.inf)
    tau_q: float | None = arg(
        None,
        "temperature of the distribution over candidates; default: 0.1 with an evaluator, 1 with a teacher",
        above=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher and self.evaluator:
            raise InputError("fit degre: expected --evaluator or --teacher, found both")
        if self.tau_q is None:
            self.tau_q = 1.0 if self.teacher else 0.1


def run(config: Config) -> None:
    """Reads train and valid slates; writes the network of the epoch whose lists the evaluator scores highest."""
    from gr2.rerankers.degre.train_generator import DeGReTrainer, copy_lists, mine_lists, train_generator

    # read
    lists = read_lists(config)
    judge, known = read_judge(config, lists), read_codes(config, lists)

    # examples, trainer
    if config.teacher:
        lists = replace(lists, train=read_teacher(config, lists.valid, weight=1 - config.label_weight))
        find = partial(copy_lists, size=config.list_size)
    else:
        find = partial(mine_lists, judge=judge, size=config.list_size, beams=config.beams)
    loss = {name: vars(config)[name] for name in ("alpha", "tau_w", "tau_q")}
    train_generator(DeGReTrainer, find, lists, config.training, judge, known, **loss)

    # write
    write_record(config.output_dir, "degre", lists.catalogue)
