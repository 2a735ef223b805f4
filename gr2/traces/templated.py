"""Traces that no teacher writes: the relevant item first, or any reranker's order, with a reason from categories."""

import polars as pl

from gr2.data.catalogue import Catalogue
from gr2.files.slates import Slate
from gr2.files.tables import read_rankings
from gr2.prompts import explanation as template
from gr2.prompts.answer import write_answer
from gr2.prompts.prompt import Prompt, render


def taught(rankings: str | None, slates: list[Slate]) -> list[list[str]]:
    """The ranking that a template's answer gives to each slate."""
    if rankings is None:
        first = [slate.relevant[0] for slate in slates]
        return [
            [target, *(item_id for item_id in slate.candidates if item_id != target)]
            for target, slate in zip(first, slates, strict=True)
        ]
    frame = pl.DataFrame({name: [vars(slate)[name] for slate in slates] for name in ("slate_id", "candidates")})
    return read_rankings(rankings, frame)["ranking"].to_list()


def templated(
    slates: list[Slate], rankings: list[list[str]], prompt: Prompt, catalogue: Catalogue, teacher: str
) -> list[dict]:
    weights = template.category_weights(catalogue)
    rows = []
    for slate, ranking in zip(slates, rankings, strict=True):
        reasoning = template.explain(slate.history[-prompt.max_history :], ranking[0], catalogue, weights)
        rows.append({
            "slate_id": slate.slate_id,
            "mode": "template",
            "sample": 0,
            "messages": render(prompt, slate, catalogue),
            "completion": write_answer(reasoning if prompt.has_trace else None, ranking, catalogue),
            "reasoning": reasoning,
            "ranking": ranking,
            "accepted": True,
            "reason": None,
            "finish_reason": "stop",
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "teacher": teacher,
        })  # fmt: skip
    return rows
