"""gr2 fit lambdamart: boosted trees (LightGBM) on the blend's features, by NDCG."""

from dataclasses import dataclass

from gr2.data.features import load_features
from gr2.options.declare import arg
from gr2.rerankers.lambdamart import train_lambdamart
from gr2.rerankers.record import write_record
from gr2.stages.fit.shared import ByFeatures, read_train_and_valid

WRITES = ("model.txt", "reranker.json")


@dataclass(kw_only=True)
class Config(ByFeatures):
    list_size: int = arg(6, "the length at which NDCG is taken", least=1)


def run(config: Config) -> None:
    """Reads train and valid slates and features; writes model.txt and reranker.json; prints the features' shares."""
    # read
    train, valid = read_train_and_valid(config)
    features = load_features(config.items, config.interactions, config.embeddings)

    # model
    shares = train_lambdamart(train, valid, features, config.output_dir, config.list_size, config.seed)
    print("shares of the gain: " + ", ".join(f"{name} {share:.2f}" for name, share in shares.items()))

    # write
    write_record(config.output_dir, "lambdamart", scores=all(slate.scores for slate in train))
