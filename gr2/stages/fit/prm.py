"""gr2 fit prm: PRM, a small Transformer over a slate's candidates (1904.06813).

It learns the labels, or with --teacher any other reranker's probabilities: a language model's at a small model's price.
"""

from dataclasses import dataclass

from gr2.data.features import load_features
from gr2.options.declare import arg
from gr2.rerankers.record import write_record
from gr2.stages.fit.shared import ByFeatures, Network, TeacherOptions, read_teacher, read_train_and_valid

WRITES = ("config.json", "model.safetensors", "training_log.jsonl", "reranker.json")


@dataclass(kw_only=True)
class Config(Network, ByFeatures, TeacherOptions):
    features: bool = arg(
        False, "read all features, not only the pre-ranker's score, which is then added to the network's own"
    )
    teacher_temperature: float = arg(1.0, "with --teacher: above 1 evens its probabilities out", above=0)
    teacher_weight: float = arg(
        1.0, "with --teacher: its share of the loss; the rest is the labels', where a slate has any", above=0, most=1
    )

    HEADS = 2


def run(config: Config) -> None:
    """Reads train and valid slates and features; writes the network of the epoch with the best NDCG@5."""
    from gr2.rerankers.prm.train import train_prm

    # read
    train, valid = read_train_and_valid(config)
    if config.teacher:
        train = read_teacher(config, valid, config.teacher_temperature, config.teacher_weight)
    features = load_features(config.items, config.interactions, config.embeddings)

    # trainer
    train_prm(train, valid, features, config.training, config.features)

    # write
    write_record(config.output_dir, "prm", scores=all(slate.scores for slate in train))
