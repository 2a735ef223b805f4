"""rankings.parquet: a ranking is a reranker's answer to one slate."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.columns import cast_ids, read_table, refuse_rows, require_columns, write_parquet
from gr2.files.schema import NUMBER, NUMBERS, TEXT, TEXTS, TRUTH, WHOLE, cast_columns

COLUMNS = {"slate_id": TEXT, "ranking": TEXTS, "valid": TRUTH}
SCORED = {"scores": NUMBERS}
CHOSEN = {"choice_log_probs": NUMBERS}
WRITTEN = {"reason": TEXT, "reasoning": TEXT, "prompt_tokens": WHOLE, "completion_tokens": WHOLE, "latency_ms": NUMBER}
SHUFFLED_FILE, TIMING_FILE = "shuffled.parquet", "timing.json"  # beside a rankings.parquet
BETWEEN = "; "  # reasons of a fusion's answer, one for each member whose answer was unusable
SHUFFLED = {"slate_id": TEXT, "shuffle": WHOLE, "ranking": TEXTS, "valid": TRUTH}


@dataclass(frozen=True)
class Ranking:
    """A row of rankings.parquet."""

    slate_id: str
    ranking: list[str]  # the slate's candidates, best first
    valid: bool = True  # false: the answer was unusable, and the ranking is the input order
    scores: list[float] | None = None  # of the ranking's items, by rerankers that score
    choice_log_probs: list[float] | None = None  # of each of the ranking's items after those before it
    reason: str | None = None  # why an answer, or a fusion's members', is unusable; from here on of language models
    reasoning: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: float | None = None  # wall-clock time of a batch divided by its slates


def tabulate(rankings: Sequence[Ranking]) -> pl.DataFrame:
    """All columns of rankings.parquet, in much less memory than the rankings themselves."""
    return pl.DataFrame(list(map(vars, rankings)), schema=COLUMNS | SCORED | CHOSEN | WRITTEN)


def write_rankings(rankings: pl.DataFrame, path: str | Path) -> None:
    """Writes what `tabulate` gave, whole; scores and the columns of written answers only where there are any."""
    optional = {"scores": SCORED, "choice_log_probs": CHOSEN, "completion_tokens": WRITTEN}
    unknown = [column for name, columns in optional.items() if not rankings[name].count() for column in columns]
    write_parquet(rankings.drop(unknown), path)


def read_rankings(path: str | Path, slates: pl.DataFrame, advice: str = "") -> pl.DataFrame:
    """Rankings in the order of `slates`, each of its slate's candidates. advice: what to do where some are missing."""
    frame = read_table(path)
    require_columns(frame, path, ("slate_id", "ranking", "valid"))
    frame = cast_columns(frame, path, COLUMNS | SCORED | CHOSEN | WRITTEN)
    frame = frame.with_columns(cast_ids(frame, path, "slate_id"))
    refuse_rows(frame["valid"].is_null(), path, "valid", "true or false", frame["valid"])
    for name in {"prompt_tokens", "completion_tokens"} & set(frame.columns):
        counts = frame[name]
        refuse_rows(counts.fill_null(0) < 0, path, name, "a number of at least 0, or none", counts)
    refuse_rows(~frame["slate_id"].is_first_distinct(), path, "slate_id", "one row per slate", frame["slate_id"])
    missing = slates["slate_id"].filter(~slates["slate_id"].is_in(frame["slate_id"].implode()))
    if len(missing):
        found = f"{len(missing)} are missing, '{missing.min()}' among them"
        raise InputError(f"{path}: column 'slate_id': expected a row for every slate; {found}{advice}")
    refuse_other_items(frame, path, slates)
    return slates.select("slate_id").join(frame, on="slate_id", maintain_order="left")


def write_shuffled(rankings: Sequence[tuple[int, Ranking]], path: str | Path) -> None:
    """Writes shuffled.parquet whole: answers to a slate's candidates in other orders, each with the order's number."""
    rows = [{**vars(ranking), "shuffle": shuffle} for shuffle, ranking in rankings]
    write_parquet(pl.DataFrame(rows, schema=SHUFFLED), path)


def read_shuffled(path: str | Path, slates: pl.DataFrame) -> pl.DataFrame:
    """shuffled.parquet; InputError where an answer to one of `slates` does not hold its candidates."""
    frame = read_table(path)
    require_columns(frame, path, tuple(SHUFFLED))
    frame = cast_columns(frame, path, SHUFFLED).with_columns(cast_ids(frame, path, "slate_id"))
    refuse_rows(frame["valid"].is_null(), path, "valid", "true or false", frame["valid"])
    refuse_other_items(frame, path, slates)
    return frame


def refuse_other_items(frame: pl.DataFrame, path: str | Path, slates: pl.DataFrame) -> None:
    """InputError where a row's `ranking` is not of the candidates of its slate, if it is one of `slates`."""
    known = slates.select("slate_id", "candidates")
    candidates = frame.select("slate_id").join(known, on="slate_id", how="left", maintain_order="left")["candidates"]
    given, ranked = (lists.list.eval(pl.element().sort()) for lists in (candidates, frame["ranking"]))
    wrong = (ranked != given).fill_null(True) & candidates.is_not_null()
    refuse_rows(wrong, path, "ranking", "a permutation of the slate's candidates", frame["ranking"])
