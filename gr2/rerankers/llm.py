"""A language model as a reranker: prompt, sample, parse; an unusable answer leaves the input order standing."""

import json
import time
from pathlib import Path

from tqdm import tqdm

from gr2.answers import parse
from gr2.artifacts import append_lines, read_appended
from gr2.data.catalogue import Catalogue
from gr2.language_model.samplers import Sampler
from gr2.prompts import Prompt, answer_schema, render


def rank(
    slates: list[dict],
    catalogue: Catalogue,
    prompt: Prompt,
    sampler: Sampler,
    *,
    structured: bool,
    temperature: float,
    max_tokens: int,
    round_size: int,
    seed: int,
    partial: Path,
) -> list[dict]:
    """One row per slate, in order: slate_id, ranking, valid, reasoning, completion_tokens, latency_ms.

    Answers are appended to `partial` after every round, so an interrupted run goes on where it stopped.
    latency_ms is a round's wall-clock time divided by its slates: throughput, not the wait of one request.
    """
    done = {row["slate_id"]: row for row in read_appended(partial)}
    todo = [slate for slate in slates if slate["slate_id"] not in done]
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
            answer = parse(sample.text, slate["candidates"], catalogue.sid, prompt.has_trace)
            rows.append({
                "slate_id": slate["slate_id"],
                "ranking": answer.ranking or list(slate["candidates"]),
                "valid": answer.ranking is not None,
                "reason": answer.reason,
                "reasoning": answer.reasoning,
                "completion_tokens": sample.completion_tokens,
                "latency_ms": latency,
            })  # fmt: skip
        append_lines(partial, [json.dumps(row, ensure_ascii=False) for row in rows])
        done |= {row["slate_id"]: row for row in rows}
    return [done[slate["slate_id"]] for slate in slates]
