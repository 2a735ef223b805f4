"""A reranker's answer to a slate. `tables.read_rankings` reads a file of them and checks it against the slates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gr2.files.columns import write_parquet
from gr2.files.schema import NUMBER, NUMBERS, TEXT, TEXTS, TRUTH, WHOLE

COLUMNS = {"slate_id": TEXT, "ranking": TEXTS, "valid": TRUTH}
SCORED = {"scores": NUMBERS}
WRITTEN = {"reason": TEXT, "reasoning": TEXT, "completion_tokens": WHOLE, "latency_ms": NUMBER}


@dataclass(frozen=True)
class Ranking:
    """A row of rankings.parquet."""

    slate_id: str
    ranking: list[str]  # the slate's candidates, best first
    valid: bool = True  # false: the answer was unusable, and the ranking is the input order
    scores: list[float] | None = None  # of the ranking's items, by rerankers that score
    reason: str | None = None  # why an answer is unusable; this and the rest: of language models
    reasoning: str | None = None
    completion_tokens: int | None = None
    latency_ms: float | None = None  # wall-clock time of a batch divided by its slates


def write_rankings(rankings: Sequence[Ranking], path: str | Path) -> None:
    """Writes rankings.parquet whole; scores and the columns of written answers only where the reranker gives them."""
    first = rankings[0]
    scored = {} if first.scores is None else SCORED
    written = {} if first.completion_tokens is None else WRITTEN
    write_parquet(pl.DataFrame(list(map(vars, rankings)), schema=COLUMNS | scored | written), path)
