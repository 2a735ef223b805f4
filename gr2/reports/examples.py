"""Ten slates for a report, chosen by rule, so that nobody can cherry-pick."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from gr2.files.sid_tokens import BEGIN, END, SID
from gr2.files.slates import Slate, slates_of

COUNT, OF_A_RULE = 10, 2  # the rest are drawn at random
LATEST = 10  # items of the history that are shown


def describe_examples(
    slates: pl.DataFrame,
    rankings: dict[str, list[pl.DataFrame]],
    changes: dict[str, list[np.ndarray]],
    leader: str,
    titles: dict[str, str],
    sids: dict[str, str],
) -> dict:
    """What the report shows of COUNT slates: the orders of `leader` and of the other systems, each of its first seed.

    changes: places that the relevant item rose, [n] by system and seed; titles and sids: by item id, may be empty.
    """
    first = {name: seeds[0] for name, seeds in changes.items()}
    answers = {name: frames[0] for name, frames in rankings.items()}
    chosen = list(choose_rows(first, leader))
    shown = slates_of(slates[[row for row, _ in chosen]])
    return {
        "leader": leader,
        "systems": [name for name in rankings if name != leader],
        "slates": [
            {"rule": rule, "change": int(first[leader][row])}
            | describe_slate(slate, answers, row, leader, titles, sids)
            for (row, rule), slate in zip(chosen, shown, strict=True)
        ],
    }


def choose_rows(changes: dict[str, np.ndarray], leader: str, seed: int = 0) -> Iterator[tuple[int, str]]:
    """Rows, each once, with the rule that chose them: COUNT, or all where they are fewer. Equal ones in file order."""
    gains, taken = changes[leader], set()
    stacked = np.stack(list(changes.values()))
    spread = stacked.max(axis=0) - stacked.min(axis=0)
    drawn = np.random.default_rng(seed).permutation(len(gains))
    every, median = np.ones(len(gains), bool), np.sort(gains)[len(gains) // 2]
    typical = drawn[np.abs(gains - median)[drawn].argsort(kind="stable")]
    rules = (
        ("typical", typical, every, OF_A_RULE),
        ("best gain", (-gains).argsort(kind="stable"), gains > 0, OF_A_RULE),
        ("worst loss", gains.argsort(kind="stable"), gains < 0, OF_A_RULE),
        ("disagreement", (-spread).argsort(kind="stable"), spread > 0, OF_A_RULE),
        ("random", drawn, every, COUNT),
    )
    for rule, order, fits, most in rules:
        rows = [int(row) for row in order if fits[row] and row not in taken][: min(most, COUNT - len(taken))]
        taken |= set(rows)
        yield from ((row, rule) for row in rows)


def describe_slate(
    slate: Slate,
    answers: dict[str, pl.DataFrame],
    row: int,
    leader: str,
    titles: dict[str, str],
    sids: dict[str, str],
) -> dict:
    """The slate's history and its candidates in the leader's order, with their places in every other one."""
    history = slate.history[-LATEST:]
    orders = {name: frame["ranking"][row].to_list() for name, frame in answers.items()}
    written = {name: frame["reasoning"][row] for name, frame in answers.items() if "reasoning" in frame.columns}
    return {
        "slate_id": slate.slate_id,
        "user_id": slate.user_id,
        "unusable": [name for name, frame in answers.items() if not frame["valid"][row]],
        "history": [titles.get(item) or item for item in history],
        "earlier": len(slate.history) - len(history),
        "candidates": [
            {
                "title": titles.get(item) or item,
                "sid": sids.get(item, "").removeprefix(BEGIN).removesuffix(END),
                "label": slate.grades[item],
                "before": slate.candidates.index(item) + 1,
                "after": after,
                "elsewhere": [order.index(item) + 1 for name, order in orders.items() if name != leader],
            }
            for after, item in enumerate(orders[leader], start=1)
        ],
        "reasoning": {name: mark_cited(text, slate, titles, sids) for name, text in written.items() if text},
    }


def mark_cited(text: str, slate: Slate, titles: dict[str, str], sids: dict[str, str]) -> list[dict[str, str]]:
    """The text in parts; each semantic ID becomes its item's title, of kind candidate, history or, where it is no item
    of the slate, stranger. Other parts are of kind "".
    """
    kinds = {sids.get(item): (item, "history") for item in slate.history}
    kinds |= {sids.get(item): (item, "candidate") for item in slate.candidates}
    parts, end = [], 0
    for match in SID.finditer(text):
        item, kind = kinds.get(match[0], (match[0], "stranger"))
        parts += [{"text": text[end : match.start()], "kind": ""}, {"text": titles.get(item) or item, "kind": kind}]
        end = match.end()
    return [*parts, {"text": text[end:], "kind": ""}]
