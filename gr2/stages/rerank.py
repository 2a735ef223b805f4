"""gr2 rerank: slates + any reranker -> rankings.parquet.

A reranker is a language model's folder, one of `gr2 fit` or `gr2 sasrec`, or input_order, reversed, random, oracle, popularity or
rarest; or the folder of `gr2 prepare --source synthetic`, for the best order that can be known there.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from gr2.data.splits import read_popularity
from gr2.errors import InputError
from gr2.files.columns import write_parquet
from gr2.files.slates import Slate, sample_slates, slates_of
from gr2.files.tables import read_items, read_slates
from gr2.options.declare import arg
from gr2.rerankers import latent
from gr2.rerankers import rules as simple
from gr2.rerankers.partial import PARTIAL
from gr2.rerankers.record import LANGUAGE_MODEL, kind_of

if TYPE_CHECKING:
    from gr2.data.features import Features

COLUMNS = {
    "slate_id": pl.String,
    "ranking": pl.List(pl.String),
    "valid": pl.Boolean,
    "scores": pl.List(pl.Float64),
    "reason": pl.String,
    "reasoning": pl.String,
    "completion_tokens": pl.Int64,
    "latency_ms": pl.Float64,
}  # of rankings.parquet; a reranker gives the first three, and what it knows of the others

WRITES = ("rankings.parquet",)


@dataclass
class Config:
    items: str = arg(help="items.parquet", path="items.parquet")
    slates: str = arg(help="slates.parquet", path="slates.parquet")
    reranker: str = arg(
        help="a model folder, a folder of `gr2 fit` or `gr2 sasrec`, input_order, reversed, random, oracle, popularity or rarest",
        path=True,
    )
    output_dir: str = arg(help="folder for rankings.parquet")
    split: Literal["train", "valid", "test"] = arg("test", "which slates")
    semantic_ids: str | None = arg(
        None, "language model, writers of lists: semantic_ids.parquet", path="semantic_ids.parquet"
    )
    prompt: str = arg("student", "language model: the prompt file it was trained with", path=True)
    max_prompt_tokens: int | None = arg(
        None, "language model: the oldest history items are left out until a prompt fits", least=1
    )
    engine: Literal["transformers", "vllm", "openai"] = arg(
        "transformers", "language model: what samples; openai is a server at --base_url"
    )
    base_url: list[str] = arg([], "engine openai: the servers, e.g. http://127.0.0.1:8000/v1")
    batch_size: int = arg(128, "language model, writers of lists: slates a batch", least=1)
    max_tokens: int = arg(256, "language model: longest answer", least=1)
    structured: bool = arg(False, "language model: decode under the answer's grammar, which admits only permutations")
    temperature: float = arg(0.0, "language model: 0 is greedy", least=0, most=10)
    interactions: str | None = arg(
        None, "popularity, rarest, blend, lambdamart, prm: interactions.parquet", path="interactions.parquet"
    )
    embeddings: str | None = arg(None, "blend, lambdamart, prm: embeddings.safetensors", path="embeddings.safetensors")
    max_slates: int | None = arg(None, "answer this many slates, drawn at random under the seed", least=1)
    seed: int = arg(
        0, "random order, the drawing of --max_slates, and sampling above temperature 0", least=0, most=2**31 - 1
    )

    def __post_init__(self) -> None:
        if bool(self.base_url) != (self.engine == "openai"):
            raise InputError(f"--engine {self.engine}: expected --base_url with engine openai, and with no other")
        if self.reranker in ("popularity", "rarest") and not self.interactions:
            raise InputError(f"--reranker {self.reranker}: expected --interactions")


def run(config: Config) -> None:
    slates = chosen_slates(config)
    output = Path(config.output_dir)
    rows = answers(config, slates, output)
    for slate, row in zip(slates, rows, strict=True):
        if row["slate_id"] != slate.slate_id or sorted(row["ranking"]) != sorted(slate.candidates):
            raise InputError(f"reranker {config.reranker}: slate_id '{slate.slate_id}': expected an order of its "
                             f"candidates, found {row['ranking']}")  # fmt: skip
    types = {name: dtype for name, dtype in COLUMNS.items() if name in rows[0]}
    write_parquet(pl.DataFrame(rows, schema=types), output / "rankings.parquet")
    (output / PARTIAL).unlink(missing_ok=True)
    print(f"{len(rows)} slates, {sum(not row['valid'] for row in rows)} unusable answers "
          f"{dict(Counter(row['reason'] for row in rows if row.get('reason')))}")  # fmt: skip
    if "latency_ms" in rows[0]:
        print(f"{sum(row['latency_ms'] for row in rows) / len(rows):.0f} ms a slate in batches of {config.batch_size}")


def chosen_slates(config: Config) -> list[dict]:
    """The slates of the split, or `max_slates` of them, in file order."""
    frame = read_slates(config.slates, read_items(config.items)["item_id"]).filter(pl.col("split") == config.split)
    if frame.is_empty():
        raise InputError(f"{config.slates}: no slate has split '{config.split}'")
    slates = sample_slates(slates_of(frame), config.max_slates, config.seed)
    if len(slates) < len(frame):
        print(f"{len(slates)} of {len(frame)} slates, drawn at random", flush=True)
    return slates


def answers(config: Config, slates: list[Slate], output: Path) -> list[dict]:
    """Rows of rankings.parquet, by the reranker that the folder's record names; `output` is for unfinished work."""
    if config.reranker in simple.NAMES:
        note_unused(config, config.reranker)
        return by_rule(config, slates)
    if not Path(config.reranker).is_dir():
        raise InputError(f"--reranker {config.reranker}: expected {', '.join(simple.NAMES)}, or a folder of `gr2 fit`, "
                         "`gr2 sasrec` or a language model")  # fmt: skip
    kind = kind_of(config.reranker)
    if kind == LANGUAGE_MODEL:
        from gr2.rerankers import llm

        return llm.answers(config, slates, output)
    note_unused(config, kind)
    if kind == "evaluator":
        raise InputError(
            f"--reranker {config.reranker}: an evaluator ranks nothing; `gr2 fit --kind degre` learns from it"
        )
    if kind in ("glorank", "degre", "goalrank"):
        return by_list_writer(config, slates)
    return by_score(slates, scores(config, kind, slates))


def scores(config: Config, kind: str, slates: list[Slate]) -> list[np.ndarray]:
    """One array of scores [K] per slate, higher is better, by a kind of reranker that scores candidates."""
    if kind == "latent":
        return latent.score(slates, config.reranker)
    if kind == "sasrec":
        from gr2.rerankers import sasrec

        return sasrec.score(slates, read_items(config.items)["item_id"], config.reranker)
    if kind == "blend":
        from gr2.rerankers import blend as module
    elif kind == "lambdamart":
        from gr2.rerankers import lambdamart as module
    else:
        from gr2.rerankers import prm as module
    return module.score(slates, features(config, kind), config.reranker)


def note_unused(config: Config, kind: str) -> None:
    """Says which of a language model's options were given to a reranker that is none."""
    default = Config(items="", slates="", reranker="", output_dir="")
    names = ("structured", "temperature", "max_tokens", "max_prompt_tokens")
    given = [f"--{name}" for name in names if vars(config)[name] != vars(default)[name]]
    if given:
        print(f"reranker {kind} does not use {', '.join(given)}", flush=True)


def by_rule(config: Config, slates: list[Slate]) -> list[dict]:
    counts = {}
    if config.reranker in ("popularity", "rarest"):
        counts = read_popularity(config.interactions)
    rankings = simple.rank(config.reranker, slates, counts, config.seed)
    return [{"slate_id": slate.slate_id, "ranking": ranking, "valid": True}
            for slate, ranking in zip(slates, rankings, strict=True)]  # fmt: skip


def features(config: Config, reranker: str) -> "Features":
    from gr2.data.features import load_features

    if not config.interactions or not config.embeddings:
        raise InputError(f"reranker {reranker}: expected --interactions and --embeddings")
    return load_features(config.items, config.interactions, config.embeddings)


def by_score(slates: list[Slate], scores: list[np.ndarray]) -> list[dict]:
    """Candidates by falling score; equal ones keep the input order. InputError for scores that are not finite."""
    rows = []
    for slate, values in zip(slates, scores, strict=True):
        if not np.isfinite(values).all():
            raise InputError(f"slate_id '{slate.slate_id}': expected finite scores, found {values.tolist()}")
        order = (-values).argsort(kind="stable")
        ranking = [slate.candidates[at] for at in order]
        rows.append({"slate_id": slate.slate_id, "ranking": ranking, "valid": True, "scores": values[order].tolist()})
    return rows


def by_list_writer(config: Config, slates: list[Slate]) -> list[dict]:
    from gr2.data.catalogue import read_catalogue
    from gr2.rerankers.list_writer import decode as write

    if not config.semantic_ids:
        raise InputError(f"reranker {config.reranker}: expected --semantic_ids")
    rankings = write.rank(slates, read_catalogue(config.items, config.semantic_ids), config.reranker, config.batch_size)
    return [{"slate_id": slate.slate_id, "ranking": ranking, "valid": True}
            for slate, ranking in zip(slates, rankings, strict=True)]  # fmt: skip
