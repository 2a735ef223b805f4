"""Traces that no teacher writes: an order, and a reason for its first item from the items' categories."""

from itertools import compress

import polars as pl

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.rankings import read_rankings
from gr2.files.slates import Slate
from gr2.prompts.answer import write_answer
from gr2.prompts.explanation import category_weights, explain
from gr2.prompts.prompt import Prompt
from gr2.prompts.render import render


def relevant_first(slate: Slate) -> list[str]:
    """The candidates with the first relevant one in front."""
    target = slate.relevant[0]
    return [target, *(item_id for item_id in slate.candidates if item_id != target)]


def read_orders(rankings: str, slates: list[Slate]) -> tuple[list[Slate], list[list[str]]]:
    """The slates that have a usable ranking in a rankings.parquet, and these rankings. InputError where none has one.

    The ranking of an unusable answer is the input order, which nobody should learn.
    """
    columns = {name: [vars(slate)[name] for slate in slates] for name in ("slate_id", "candidates")}
    frame = read_rankings(rankings, pl.DataFrame(columns))
    usable = frame["valid"].to_list()
    if slates and not any(usable):
        raise InputError(f"--rankings {rankings}: expected usable rankings, found {len(slates)} unusable ones")
    return list(compress(slates, usable)), frame.filter("valid")["ranking"].to_list()


def write_rows(
    slates: list[Slate], orders: list[list[str]], prompt: Prompt, catalogue: Catalogue, teacher: str
) -> list[dict]:
    """Rows of traces.jsonl, an accepted one for each slate, that teach `orders`; `teacher` is where they come from."""
    rows, weights = [], category_weights(catalogue)
    for slate, ranking in zip(slates, orders, strict=True):
        reasoning = explain(slate.history[-prompt.max_history :], ranking[0], catalogue, weights)
        row = {
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
        }
        rows.append(row)
    return rows
