"""What a server is told."""

from dataclasses import dataclass, field
from typing import NamedTuple

from gr2.rerankers.protocol import Inputs, Sampling


@dataclass(frozen=True)
class Settings:
    """What an engine is opened with."""

    reranker: str
    inputs: Inputs
    sampling: Sampling = field(default_factory=Sampling)
    history: int = 20  # items of a user that are looked at
    encoder: str | None = None  # as in `gr2 embed`, for the texts of items that the catalogue does not know
    threads: int | None = None


@dataclass(frozen=True)
class Patience:
    """In seconds."""

    batch: float  # an engine that has not answered a batch after this time is killed
    opening: float  # the same for one that is being opened
    late: float  # a batch that takes longer makes the server answer new requests without the engine


@dataclass(frozen=True)
class Pace:
    size: int  # requests of a batch at most
    wait: float  # seconds that the first request of a batch waits for others
    deadline: float  # seconds after which a request is answered with its input order
    room: int  # requests that may wait


class Limits(NamedTuple):
    bytes: int  # of a body
    candidates: int  # also of items of a history
    text: int  # characters of one text
