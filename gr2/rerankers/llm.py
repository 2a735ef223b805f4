"""A language model as a reranker: prompt, sample, parse; an unusable answer leaves the input order standing."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.errors import InputError
from gr2.files.artifacts import files_below, sha256
from gr2.files.slates import Slate
from gr2.language_model.loading import load_tokenizer
from gr2.language_model.taught_ids import check_taught
from gr2.prompts.answer import parse
from gr2.prompts.checks import check_answer
from gr2.prompts.history import fit_history
from gr2.prompts.prompt import Prompt, answer_schema, load_prompt, prompt_file, render
from gr2.prompts.room import check_room
from gr2.rerankers.partial import Partial
from gr2.samplers.base import Sampler, open_sampler

if TYPE_CHECKING:
    from gr2.stages.rerank import Config

INPUTS = ("items", "slates", "semantic_ids", "prompt", "reranker")
SAMPLING = ("structured", "temperature", "max_tokens", "max_prompt_tokens", "engine", "base_url", "batch_size", "seed")


def answers(config: "Config", slates: list[Slate], output: Path) -> list[dict]:
    """Rows of rankings.parquet; what can be known to go wrong is refused before the model is loaded."""
    if not config.semantic_ids:
        raise InputError(f"--reranker {config.reranker}: it is a language model; expected --semantic_ids")
    catalogue = read_catalogue(config.items, config.semantic_ids)
    prompt = load_prompt(config.prompt)
    tokenizer = load_tokenizer(config.reranker)
    check_taught(config.reranker, tokenizer, catalogue, config.semantic_ids)
    catalogue = catalogue.safe_for(tokenizer)
    check_answer(config.reranker, tokenizer, prompt, slates[0], catalogue)
    check_room(slates, catalogue, prompt, tokenizer, config.max_tokens)
    partial = Partial(output, made_of(config))
    if config.max_prompt_tokens is not None:
        slates = fit_history(
            slates, lambda slate: render(prompt, slate, catalogue), tokenizer, config.max_prompt_tokens
        )
    sampler = open_sampler(
        config.engine, config.reranker, base_url=config.base_url, batch_size=config.batch_size, progress=False
    )
    return rank(
        slates,
        catalogue,
        prompt,
        sampler,
        structured=config.structured,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        round_size=config.batch_size,
        seed=config.seed,
        partial=partial,
    )


def made_of(config: "Config") -> dict:
    """What the answers depend on: the sha256 of every input file, and how they are sampled."""
    paths = {name: vars(config)[name] for name in INPUTS} | {"prompt": prompt_file(config.prompt)}
    files = {name: {str(file): sha256(file) for file in files_below(path)} for name, path in paths.items()}
    return files | {name: vars(config)[name] for name in SAMPLING}


def rank(
    slates: list[Slate],
    catalogue: Catalogue,
    prompt: Prompt,
    sampler: Sampler,
    *,
    structured: bool,
    temperature: float,
    max_tokens: int,
    round_size: int,
    seed: int,
    partial: Partial,
) -> list[dict]:
    """One row per slate, in order: slate_id, ranking, valid, reasoning, completion_tokens, latency_ms.

    Answers are appended to `partial` after every round, so an interrupted run goes on where it stopped.
    latency_ms is a round's wall-clock time divided by its slates: throughput, not the wait of one request.
    """
    todo = [slate for slate in slates if slate.slate_id not in partial.done]
    for start in tqdm(range(0, len(todo), round_size), desc="rerank", unit="round"):
        batch = todo[start : start + round_size]
        started = time.monotonic()
        samples = sampler.sample(
            [render(prompt, slate, catalogue) for slate in batch],
            temperature=temperature,
            top_p=1.0,
            max_tokens=max_tokens,
            seeds=[seed] * len(batch),
            schemas=[answer_schema(prompt, slate, catalogue) for slate in batch] if structured else None,
        )
        latency = 1000 * (time.monotonic() - started) / len(batch)
        rows = []
        for slate, sample in zip(batch, samples, strict=True):
            answer = parse(sample.text, slate.candidates, catalogue.sid, prompt.has_trace, sample.finish_reason)
            rows.append({
                "slate_id": slate.slate_id,
                "ranking": answer.ranking or list(slate.candidates),
                "valid": answer.ranking is not None,
                "reason": answer.reason,
                "reasoning": answer.reasoning,
                "completion_tokens": sample.completion_tokens,
                "latency_ms": latency,
            })  # fmt: skip
        partial.append(rows)
    return [partial.done[slate.slate_id] for slate in slates]
