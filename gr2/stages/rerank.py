"""gr2 rerank: slates + any reranker -> rankings.parquet.

A reranker is a language model's folder, one of `gr2 fit` or `gr2 sasrec`, or input_order, reversed, random, oracle,
popularity or rarest; or the folder of `gr2 prepare --source synthetic`, which gives the best possible order.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.items import read_items
from gr2.files.rankings import BETWEEN, SHUFFLED_FILE, TIMING_FILE, Ranking, write_rankings, write_shuffled
from gr2.files.slates import Slate, Slates, read_slate_table, sample_slates
from gr2.options.declare import arg
from gr2.prompts.answer import hint_at_limit
from gr2.rerankers.ask import in_blocks, rank_blocks, time_alone
from gr2.rerankers.fusion.reranker import Fusion
from gr2.rerankers.language_model import PARTIAL, LanguageModel
from gr2.rerankers.on_ray import OnRay
from gr2.rerankers.open import open_reranker, require_scores
from gr2.rerankers.protocol import Inputs, Sampling
from gr2.rerankers.rules import BY_POPULARITY
from gr2.stages.rerank_options import ProbeOptions
from gr2.stages.shared import PromptOptions, SamplingWorkers, ServerOptions, SlateOptions

WRITES = ("rankings.parquet", "shuffled.parquet", "timing.json")
BLOCK = 8192  # slates in memory at a time: whole batches of all small rerankers


@dataclass(kw_only=True)
class Config(SlateOptions, PromptOptions, ProbeOptions, ServerOptions, SamplingWorkers):
    reranker: str = arg(help="a model's folder, one of `gr2 fit` or `gr2 sasrec`, or a rule (see above)", path=True)
    output_dir: str = arg(help="folder for rankings.parquet")
    split: Literal["train", "valid", "test"] = arg("test", "which slates")
    interactions: str | None = arg(
        None, "needed by popularity, rarest, and rerankers that read features", path="interactions.parquet"
    )
    embeddings: str | None = arg(None, "needed by rerankers that read features", path="embeddings.safetensors")
    semantic_ids: str | None = arg(None, "needed by language models and list writers", path="semantic_ids.parquet")
    member_rankings: list[str] = arg(
        [],
        "fusion: rankings of these slates by its members, in their order; the members are then not run again",
        path="rankings.parquet",
    )
    engine: Literal["transformers", "vllm", "openai", "ray"] = arg(
        "transformers",
        "what runs a language model; openai is a server at --base_url. ray spreads any reranker over a cluster",
    )
    batch_size: int = arg(128, "language model, list writers: slates per batch", least=1)
    max_tokens: int = arg(256, "language model: longest answer", least=1)
    order: Literal["written", "choices", "first"] = arg(
        "written",
        "language model. written: free text, an unusable answer keeps the input order. choices: one candidate after "
        "another. first: rank all by the probability of being first; gives scores and is fastest",
    )
    structured: bool = arg(False, "language model: true is --order choices")
    temperature: float = arg(0.0, "language model: 0 takes the likeliest", least=0, most=10)
    max_slates: int | None = arg(None, "answer this many slates, drawn at random under the seed", least=1)
    seed: int = arg(0, "random seed of shuffled orders, drawn slates and sampling", least=0, most=2**31 - 1)

    def __post_init__(self) -> None:
        if self.engine == "openai" and not self.base_url:
            raise InputError("--engine openai: expected --base_url, of the server that serves the model")
        super().__post_init__()
        if self.structured and self.order == "written":
            self.order = "choices"
        if self.engine == "openai" and self.order == "first":
            raise InputError("--order first: expected --engine transformers or vllm; a chat server gives no scores")
        if self.engine == "ray" and self.member_rankings:
            raise InputError("--member_rankings: expected another --engine than ray; there is nothing to ask")
        if self.reranker in BY_POPULARITY and not self.interactions:
            raise InputError(f"--reranker {self.reranker}: expected --interactions")


def run(config: Config) -> None:
    """Reads slates and the reranker; writes rankings.parquet; prints the unusable answers by reason."""
    if config.structured:
        print(f"--structured true: the order is {config.order}", flush=True)
    # read
    slates = choose_slates(config)
    inputs = Inputs(**{name: vars(config)[name] for name in Inputs.__dataclass_fields__})
    names = Sampling.__dataclass_fields__.keys() - {"unfinished"}
    sampling = Sampling(**{name: vars(config)[name] for name in names}, unfinished=Path(config.output_dir))

    # model
    reranker = open_reranker(config.reranker, inputs, sampling)
    if not isinstance(reranker, LanguageModel | Fusion | OnRay):
        note_unused(config)
    if config.member_rankings and not isinstance(reranker, Fusion):
        raise InputError(f"--member_rankings: expected --reranker of `gr2 fit fusion`, found {config.reranker}")
    shuffled = shuffle_slates(slates, config)
    to_rank, count = chain(slates, (slate for _, slate in shuffled)), len(slates) + len(shuffled)
    at_once = count if isinstance(reranker, LanguageModel | Fusion | OnRay) else math.lcm(BLOCK, config.batch_size)
    checked = require_scores(reranker, config.reranker, f"{config.slates}: ")
    answers, seconds = rank_blocks(checked, in_blocks(to_rank, at_once), config.reranker)
    rankings, of_shuffled = answers[: len(slates)], answers[len(slates) :]

    # write
    output = Path(config.output_dir)
    write_rankings(rankings, output / "rankings.parquet")
    if config.shuffles:
        write_shuffled(restore_ids(shuffled, of_shuffled), output / SHUFFLED_FILE)
    latencies = answers["latency_ms"].drop_nulls()
    milliseconds = latencies.mean() if len(latencies) else 1000 * seconds / count
    whole = config.engine in ("openai", "ray") or config.member_rankings  # nothing here to ask alone
    waits = [] if whole or not config.alone else time_alone(reranker, sample_slates(slates, config.alone, config.seed))
    write_json(output / TIMING_FILE, {
        "slates": count,
        "ms_a_slate": round(milliseconds, 6),
        "batch_size": config.batch_size,
        "alone": len(waits),
        **{f"p{share}_ms": round(float(np.percentile(waits, share)), 6) if waits else None for share in (50, 99)},
    })  # fmt: skip
    (output / PARTIAL).unlink(missing_ok=True)
    unusable = Counter(rankings.filter(~pl.col("valid"))["reason"])
    hint = hint_at_limit(unusable, len(rankings), config.max_tokens)
    of_members = Counter(rankings.filter("valid")["reason"].drop_nulls().str.split(BETWEEN).explode())  # of a fusion
    print(f"{len(rankings)} slates, {unusable.total()} unusable answers{in_brackets(unusable)}{hint}")
    if of_members:
        print(f"{of_members.total()} unusable answers of members{in_brackets(of_members)}")
    batches = f" in batches of {config.batch_size}" if len(latencies) else ""
    print(f"{milliseconds:.3g} ms a slate{batches}")
    if waits:
        print(f"{np.median(waits):.3g} ms for a slate alone (the median of {len(waits)})")


def in_brackets(reasons: Counter) -> str:
    """` (truncated 2, no_json 1)`; "" where there are none."""
    return f" ({', '.join(f'{reason} {count}' for reason, count in reasons.most_common())})" if reasons else ""


def shuffle_slates(slates: Sequence[Slate], config: Config) -> list[tuple[int, Slate]]:
    """(number of the shuffle, slate in another order, under a slate_id of its own) of a sample of the slates."""
    sample = sample_slates(slates, config.shuffled_slates, config.seed) if config.shuffles else []
    numbered = [(shuffle, slate) for slate in sample for shuffle in range(config.shuffles)]
    return [
        (shuffle, replace(slate.shuffled(config.seed, shuffle), slate_id=f"{slate.slate_id} shuffle {shuffle}"))
        for shuffle, slate in numbered
    ]


def restore_ids(shuffled: list[tuple[int, Slate]], answers: pl.DataFrame) -> list[tuple[int, Ranking]]:
    """The answers under the ids of the slates that were shuffled."""
    rankings = (Ranking(**row) for row in answers.iter_rows(named=True))
    return [
        (shuffle, replace(answer, slate_id=answer.slate_id.removesuffix(f" shuffle {shuffle}")))
        for (shuffle, _), answer in zip(shuffled, rankings, strict=True)
    ]


def choose_slates(config: Config) -> Slates:
    """The slates of the split, or `max_slates` of them, in file order."""
    frame = read_slate_table(config.slates, read_items(config.items)["item_id"]).filter(pl.col("split") == config.split)
    if frame.is_empty():
        raise InputError(f"{config.slates}: no slate has split '{config.split}'")
    rows = sample_slates(range(len(frame)), config.max_slates, config.seed)
    if len(rows) < len(frame):
        print(f"{len(rows)} of {len(frame)} slates, drawn at random", flush=True)
    return Slates(frame[rows])


def note_unused(config: Config) -> None:
    """Prints which of a language model's options were given to a reranker that is none."""
    default = Sampling()
    names = ("order", "temperature", "max_tokens", "max_prompt_tokens")
    given = [f"--{name}" for name in names if vars(config)[name] != vars(default)[name]]
    if given:
        print(f"reranker {config.reranker} does not use {', '.join(given)}", flush=True)
