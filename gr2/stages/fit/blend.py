"""gr2 fit blend: a logistic regression on what a production reranker knows of a candidate."""

from dataclasses import dataclass

from gr2.data.features import load_features
from gr2.rerankers.blend import train_blend
from gr2.rerankers.record import write_record
from gr2.stages.fit.shared import ByFeatures, read_train

WRITES = ("blend.json", "reranker.json")


@dataclass(kw_only=True)
class Config(ByFeatures):
    pass


def run(config: Config) -> None:
    """Reads train slates and features; writes blend.json and reranker.json; prints the weights."""
    # read
    train, _ = read_train(config)
    features = load_features(config.items, config.interactions, config.embeddings)

    # model
    weights = train_blend(train, features, config.output_dir, config.seed)
    shown = ", ".join(f"{name} {weight:+.2f}" for name, weight in weights.items())
    print(f"{len(train)} slates; weights of the standardised features: {shown}")

    # write
    write_record(config.output_dir, "blend", scores=all(slate.scores for slate in train))
