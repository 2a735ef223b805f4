"""gr2 fit fusion: one score from the scores and ranks of several rerankers, and the usual features.

It is fitted on the valid split, which its members used at most to know when to stop training; so they look a little
better there than they are, and are judged, like it, on the test split. How it fuses (the best member alone, the mean,
weights, or trees) is chosen by folds over the valid split's users.
"""

from dataclasses import dataclass, replace
from typing import Literal

from gr2.data.features import load_features
from gr2.errors import InputError
from gr2.options.declare import arg
from gr2.rerankers.fusion.answers import ask, check_file, read_answers, refuse_member
from gr2.rerankers.fusion.settings import describe_file, describe_sampling, is_language_model
from gr2.rerankers.fusion.train import train_fusion
from gr2.rerankers.open import open_reranker, require_scores
from gr2.rerankers.protocol import Inputs, Reranker, Sampling
from gr2.rerankers.record import digests, needs_scores, write_record
from gr2.stages.fit.shared import ByFeatures, read_train
from gr2.stages.shared import PromptOptions

WRITES = ("fusion.json", "trees.txt", "reranker.json")


@dataclass(kw_only=True)
class Config(ByFeatures, PromptOptions):
    members: list[str] = arg(help="two or more rerankers: their folders, or rules", path=True)
    member_rankings: list[str] = arg(
        [],
        "the members' rankings of the valid split (`gr2 rerank --split valid`), in the members' order, so that they "
        "are not asked again",
        path="rankings.parquet",
    )
    semantic_ids: str | None = arg(None, "of language models, list writers", path="semantic_ids.parquet")
    order: Literal["written", "choices", "first"] = arg(
        "first", "language models: as in `gr2 rerank`; only first gives scores beside ranks"
    )
    batch_size: int = arg(128, "language models, list writers: slates per batch", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.members) < 2 or len(set(self.members)) < len(self.members):
            raise InputError("--members: expected two or more rerankers, each once")
        if self.member_rankings and len(self.member_rankings) != len(self.members):
            found = f"found {len(self.member_rankings)}"
            raise InputError(f"--member_rankings: expected {len(self.members)} files, one for each member; {found}")


def run(config: Config) -> None:
    """Reads valid slates, features and members' rankings; writes fusion.json, trees.txt where there are trees."""
    # read
    for member in config.members:
        refuse_member(member)
    slates = list(read_train(config)[1])
    if len({slate.user_id for slate in slates}) < 2:
        raise InputError(f"{config.slates}: expected labelled slates of split valid by two users or more")
    features = load_features(config.items, config.interactions, config.embeddings)

    # ask
    if config.member_rankings:
        files = list(zip(config.members, config.member_rankings, strict=True))
        for member, file in files:
            check_file(member, digests(member), file)
        settings = [describe_file(file) if is_language_model(member) else None for member, file in files]
        answers = [read_answers(file, slates) for file in config.member_rankings]
    else:
        inputs = Inputs(config.items, config.interactions, config.embeddings, config.semantic_ids)
        names = ("prompt", "max_prompt_tokens", "order", "batch_size", "seed")
        sampling = replace(Sampling(), **{name: vars(config)[name] for name in names})
        settings = [describe_sampling(sampling) if is_language_model(member) else None for member in config.members]

        def open_member(member: str) -> Reranker:
            return require_scores(open_reranker(member, inputs, sampling), member)

        answers = [ask(open_member, member, slates)[0] for member in config.members]

    # model
    report = train_fusion(slates, config.members, answers, settings, features, config.output_dir, config.seed)
    for member in report["members"]:
        unusable = f", {member['unusable']} unusable answers" if member["unusable"] else ""
        print(f"{member['reranker']}: NDCG@5 {member['ndcg@5']:.3f}{unusable}")
    chosen = report["chosen"]
    strength = (
        f" ({'penalty' if chosen['kind'] == 'weights' else 'trees'} {chosen['strength']})" if chosen["strength"] else ""
    )
    print(f"{len(slates)} valid slates, chosen by folds: {chosen['kind']}{strength} of {len(chosen['reads'])} columns, "
          f"NDCG@5 {chosen['ndcg@5']:.3f}")  # fmt: skip

    # write
    reads = "score" in chosen["reads"] and all(slate.scores for slate in slates)
    write_record(config.output_dir, "fusion", scores=reads or any(map(needs_scores, config.members)))
