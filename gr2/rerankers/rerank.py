"""gr2 rerank: slates + any reranker -> rankings.parquet.

A reranker is a language model's folder, one of `gr2 fit` or `gr2 sasrec`, or input_order, reversed, random, oracle, popularity or
rarest; or the folder of `gr2 prepare --source synthetic`, for the best order that can be known there.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gr2.artifacts import read_json
from gr2.config import arg
from gr2.data.columns import write_parquet
from gr2.data.splits import read_popularity
from gr2.data.tables import read_items, read_rankings, read_slates
from gr2.errors import InputError
from gr2.rerankers import latent, simple

if TYPE_CHECKING:
    from gr2.data.features import Features


@dataclass
class Config:
    items: str = arg(help="items.parquet", path=True)
    slates: str = arg(help="slates.parquet", path=True)
    reranker: str = arg(
        help="a model folder, a folder of `gr2 fit` or `gr2 sasrec`, input_order, reversed, random, oracle, popularity or rarest",
        path=True,
    )
    output_dir: str = arg(help="folder for rankings.parquet")
    split: str = arg("test", "which slates: train, valid, test")
    semantic_ids: str | None = arg(None, "language model, writers of lists: semantic_ids.parquet", path=True)
    prompt: str = arg("prompts/student.yaml", "language model: the prompt file it was trained with", path=True)
    max_prompt_tokens: int | None = arg(
        None, "language model: the oldest history items are left out until a prompt fits"
    )
    engine: str = arg("transformers", "language model: transformers, vllm, or openai (with --base_url)")
    base_url: list[str] = arg([], "engine openai: the servers, e.g. http://127.0.0.1:8000/v1")
    batch_size: int = arg(128, "language model, writers of lists: slates a batch")
    max_tokens: int = arg(256, "language model: longest answer")
    structured: bool = arg(False, "language model: decode under the answer's grammar, which admits only permutations")
    temperature: float = arg(0.0, "language model: 0 is greedy")
    interactions: str | None = arg(None, "popularity, rarest, blend, lambdamart, prm: interactions.parquet", path=True)
    embeddings: str | None = arg(None, "blend, lambdamart, prm: embeddings.safetensors", path=True)
    max_slates: int | None = arg(None, "answer only the first so many slates")
    seed: int = arg(0, "random order, and sampling above temperature 0")


def run(config: Config) -> None:
    frame = read_slates(config.slates, read_items(config.items)["item_id"]).filter(pl.col("split") == config.split)
    slates = frame.head(config.max_slates or len(frame)).to_dicts()
    if not slates:
        raise InputError(f"{config.slates}: no slate has split '{config.split}'")
    output = Path(config.output_dir)
    rows = answers(config, slates, output)
    write_parquet(pl.DataFrame(rows, infer_schema_length=None), output / "rankings.parquet")
    read_rankings(output / "rankings.parquet", frame.head(len(slates)))
    (output / "answers.partial").unlink(missing_ok=True)
    print(f"{len(rows)} slates, {sum(not row['valid'] for row in rows)} unusable answers "
          f"{dict(Counter(row['reason'] for row in rows if row.get('reason')))}")  # fmt: skip
    if "latency_ms" in rows[0]:
        print(f"{sum(row['latency_ms'] for row in rows) / len(rows):.0f} ms a slate in batches of {config.batch_size}")


def answers(config: Config, slates: list[dict], output: Path) -> list[dict]:
    """Rows of rankings.parquet, by the reranker that the folder holds: its config.json names the kind of model."""
    folder = Path(config.reranker)
    if config.reranker in simple.NAMES:
        return by_rule(config, slates)
    if (folder / "blend.json").exists():
        from gr2.rerankers import blend

        return by_score(slates, blend.score(slates, features(config, "blend"), folder))
    if (folder / "model.txt").exists():
        from gr2.rerankers import lambdamart

        return by_score(slates, lambdamart.score(slates, features(config, "lambdamart"), folder))
    if (folder / latent.FILE).exists():
        return by_score(slates, latent.score(slates, folder))
    if not (folder / "config.json").exists():
        raise InputError(f"reranker '{config.reranker}': expected {', '.join(simple.NAMES)}, or a folder with config.json "
                         "(a language model, SASRec, PRM), blend.json or model.txt (made by `gr2 fit`)")  # fmt: skip
    model_type = read_json(folder / "config.json").get("model_type")
    if model_type == "prm":
        from gr2.rerankers import prm

        return by_score(slates, prm.score(slates, features(config, "prm"), folder))
    if model_type == "list_writer":
        return by_list_writer(config, slates)
    if model_type == "sasrec":
        from gr2.rerankers import sasrec

        return by_score(slates, sasrec.score(slates, read_items(config.items)["item_id"], folder))
    return by_language_model(config, slates, output)


def by_rule(config: Config, slates: list[dict]) -> list[dict]:
    counts = {}
    if config.reranker in ("popularity", "rarest"):
        if not config.interactions:
            raise InputError(f"reranker {config.reranker}: expected --interactions")
        counts = read_popularity(config.interactions)
    rankings = simple.rank(config.reranker, slates, counts, config.seed)
    return [{"slate_id": slate["slate_id"], "ranking": ranking, "valid": True}
            for slate, ranking in zip(slates, rankings, strict=True)]  # fmt: skip


def features(config: Config, reranker: str) -> "Features":
    from gr2.data.features import load_features

    if not config.interactions or not config.embeddings:
        raise InputError(f"reranker {reranker}: expected --interactions and --embeddings")
    return load_features(config.items, config.interactions, config.embeddings)


def by_score(slates: list[dict], scores: list[np.ndarray]) -> list[dict]:
    """Candidates by falling score; equal ones keep the input order."""
    rows = []
    for slate, values in zip(slates, scores, strict=True):
        order = (-values).argsort(kind="stable")
        ranking = [slate["candidates"][at] for at in order]
        rows.append(
            {"slate_id": slate["slate_id"], "ranking": ranking, "valid": True, "scores": values[order].tolist()}
        )
    return rows


def by_list_writer(config: Config, slates: list[dict]) -> list[dict]:
    from gr2.data.catalogue import read_catalogue
    from gr2.rerankers.listwise import write

    if not config.semantic_ids:
        raise InputError(f"reranker {config.reranker}: expected --semantic_ids")
    rankings = write.rank(slates, read_catalogue(config.items, config.semantic_ids), config.reranker, config.batch_size)
    return [{"slate_id": slate["slate_id"], "ranking": ranking, "valid": True}
            for slate, ranking in zip(slates, rankings, strict=True)]  # fmt: skip


def by_language_model(config: Config, slates: list[dict], output: Path) -> list[dict]:
    from gr2.data.catalogue import read_catalogue
    from gr2.language_model.history import fit_history
    from gr2.language_model.loading import load_tokenizer
    from gr2.language_model.samplers import open_sampler
    from gr2.prompts import load_prompt, render
    from gr2.rerankers import llm

    if not config.semantic_ids:
        raise InputError("reranker is a language model: expected --semantic_ids")
    catalogue = read_catalogue(config.items, config.semantic_ids)
    prompt = load_prompt(config.prompt)
    if config.max_prompt_tokens is not None:
        tokenizer = load_tokenizer(config.reranker)
        slates = fit_history(
            slates, lambda slate: render(prompt, slate, catalogue), tokenizer, config.max_prompt_tokens
        )
    sampler = open_sampler(
        config.engine, config.reranker, base_url=config.base_url, batch_size=config.batch_size, progress=False
    )
    return llm.rank(
        slates,
        catalogue,
        prompt,
        sampler,
        structured=config.structured,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        round_size=config.batch_size,
        seed=config.seed,
        partial=output / "answers.partial",
    )
