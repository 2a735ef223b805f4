"""What the server and its engine say to each other: a request to rank candidates, and the answer.

Both send pickles; the server, which cannot wait for the rest of one, gets each after its length.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

LENGTH = struct.Struct("!Q")  # bytes of the pickle behind it
UNKNOWN, REPEATED = "unknown", "repeated"  # why a candidate was not ranked and stands at its place of the input


class RankingJob(NamedTuple):
    """A request. `user`, `history` or `query` say who asks; of K candidates each list has K entries, or none.

    A named tuple of plain values: it is pickled for every request.
    """

    number: str  # of the request, unique
    candidates: list[str]  # item ids; with `by_text` titles, too, or any text
    user: str | None = None
    history: list[str] | None = None  # oldest first
    query: str | None = None  # a user, an item, several of them on lines; see gr2/serving/directory.py
    by_text: bool = False
    texts: Sequence[str | None] = ()  # of items that the catalogue may not know
    scores: Sequence[float] = ()  # the retriever's
    features: Sequence[dict[str, float] | None] = ()  # instead of what gr2 computes
    facts: Sequence[dict[str, int]] = ()
    sources: Sequence[dict[str, Any]] = ()


class Answer(NamedTuple):
    """An order of the candidates. `fallback` is None, or the name of the reason why it is the input order."""

    order: list[int]  # indices of the candidates, best first
    scores: list[float | None] | None = None  # in that order; None: of a reranker that gives none
    marks: dict[int, str] | None = None  # index of a candidate -> why it was not ranked
    trace: str | None = None
    tokens: tuple[int, int] | None = None  # of the prompt and of the completion
    fallback: str | None = None
    why: str | None = None  # the fallback in a sentence
    lacks: str | None = None  # what the reranker was fitted on, and the request did not send
    model: str | None = None  # the version of the model that ranked; the server adds it


def fall_back(count: int, reason: str, why: str) -> Answer:
    """The input order of `count` candidates, marked."""
    return Answer(list(range(count)), fallback=reason, why=why)


class EngineReady(NamedTuple):
    """An engine is ready."""

    version: str


class EngineRefusal(NamedTuple):
    """An engine cannot be opened."""

    why: str
