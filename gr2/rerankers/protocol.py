"""What a reranker is, what it may read, and how scores become rankings."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np

from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.data.features import Features, load_features
from gr2.errors import InputError
from gr2.files.rankings import Ranking
from gr2.files.slates import Slate


@dataclass(frozen=True)
class Inputs:
    """The files that rerankers read beside their own folder; which of them, each says as it is opened."""

    items: str
    interactions: str | None = None
    embeddings: str | None = None
    semantic_ids: str | None = None
    member_rankings: Sequence[str] = ()  # rankings of the slates by the members of a fusion, which are then not asked

    def require(self, reranker: str, *names: str) -> None:
        """InputError that names the files that `reranker` needs and are not given."""
        missing = [f"--{name}" for name in names if not vars(self)[name]]
        if missing:
            raise InputError(f"--reranker {reranker}: expected {' and '.join(missing)}")

    def features(self, reranker: str) -> Features:
        self.require(reranker, "interactions", "embeddings")
        return load_features(self.items, self.interactions, self.embeddings)

    def catalogue(self, reranker: str) -> Catalogue:
        self.require(reranker, "semantic_ids")
        return read_catalogue(self.items, self.semantic_ids)


@dataclass(frozen=True)
class Sampling:
    """How a language model answers; `batch_size` also of list writers, `seed` also of the random order."""

    prompt: str = "student"  # a name that comes with gr2, or a file
    max_prompt_tokens: int | None = None  # leave out the oldest history items until a prompt has this many or fewer
    engine: Literal["transformers", "vllm", "openai", "ray"] = "transformers"  # ray: also of every other reranker
    base_url: str | None = None  # of engine openai, as the next two
    concurrency: int = 32
    deadline: float = 600.0
    ray_engine: Literal["transformers", "vllm"] = "transformers"  # of engine ray, as the next two
    workers: int = 1
    gpus_per_worker: float = 0.0
    batch_size: int = 128
    max_tokens: int = 256
    order: Literal["written", "choices", "first"] = "written"  # by choices, or by the first; written: freely
    temperature: float = 0.0
    seed: int = 0
    unfinished: Path | None = None  # the folder that keeps the answers of an interrupted run


class Reranker(Protocol):
    """Opened by `gr2.rerankers.open.open_reranker`, which calls a class's `open(folder, inputs, sampling)`."""

    def rank(self, slates: list[Slate]) -> list[Ranking]:
        """A ranking of every slate, in their order: a permutation of its candidates."""


class Scorer(ABC):
    """Base of rerankers that score a slate's candidates."""

    def rank(self, slates: list[Slate]) -> list[Ranking]:
        return rank_by_scores(slates, self.scores(slates))

    @abstractmethod
    def scores(self, slates: list[Slate]) -> list[np.ndarray]:
        """One array of scores [K] per slate; higher is better."""


class FeatureScorer(Scorer):
    """Base of those that read features; made of a folder and them."""

    @classmethod
    def open(cls, folder: str, inputs: Inputs, sampling: Sampling) -> Self:
        return cls(folder, inputs.features(folder))


@dataclass(frozen=True)
class OnScores:
    """A reranker that was fitted on the retriever's scores, and ranks no slates without them: it would take each for 0.

    where: what stands before its name in the InputError.
    """

    reranker: Reranker
    name: str
    where: str = ""

    def rank(self, slates: list[Slate]) -> list[Ranking]:
        bare = next((slate for slate in slates if not slate.scores), None)
        if bare:
            expected = "expected the pre-ranker's score of each candidate in column 'scores', on which it was fitted"
            raise InputError(f"{self.where}--reranker {self.name}: {expected}; slate_id '{bare.slate_id}' has none")
        return self.reranker.rank(slates)


def rank_by_scores(slates: list[Slate], scores: list[np.ndarray]) -> list[Ranking]:
    """Candidates by falling score [K]; equal ones keep the input order. InputError for scores that are not finite."""
    rankings = []
    for slate, values in zip(slates, scores, strict=True):
        if not np.isfinite(values).all():
            raise InputError(f"slate_id '{slate.slate_id}': expected finite scores, found {values.tolist()}")
        order = (-values).argsort(kind="stable")
        ranking = [slate.candidates[index] for index in order]
        rankings.append(Ranking(slate.slate_id, ranking, scores=values[order].tolist()))
    return rankings
