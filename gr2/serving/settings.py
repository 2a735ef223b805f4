"""The settings of a server."""

import os
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

from gr2.rerankers.protocol import Inputs, Sampling
from gr2.rerankers.rules import NAMES

FILES = ("items", "interactions", "embeddings", "semantic_ids")


@dataclass(frozen=True)
class Settings:
    """What an engine is opened with."""

    reranker: str
    inputs: Inputs
    sampling: Sampling = field(default_factory=Sampling)
    history: int = 20  # items of a user that are looked at
    encoder: str | None = None  # as in `gr2 embed`, for the texts of items that the catalogue does not know
    threads: int | None = None
    levels: str | None = None  # levels.json of `gr2 facts`, for a language model whose prompt shows facts

    def follow_links(self) -> Self:
        """With real paths: a link that is switched while an engine opens must not lead to files of two models."""
        found = {name: os.path.realpath(path) for name, path in vars(self.inputs).items() if path and name in FILES}
        known = self.reranker not in NAMES and os.path.isdir(self.reranker)
        reranker = os.path.realpath(self.reranker) if known else self.reranker
        levels = self.levels and os.path.realpath(self.levels)
        return replace(self, reranker=reranker, inputs=replace(self.inputs, **found), levels=levels)


@dataclass(frozen=True)
class Timeouts:
    """In seconds."""

    batch: float  # an engine that has not answered a batch after this time is killed
    opening: float  # the same for one that is being opened
    late: float  # a batch that takes longer makes the server answer new requests without the engine


@dataclass(frozen=True)
class BatchLimits:
    size: int  # requests of a batch at most
    deadline: float  # seconds after which a request is answered with its input order
    room: int  # requests that may wait


class Limits(NamedTuple):
    bytes: int  # of a body
    candidates: int  # also of items of a history
    text: int  # characters of one text
