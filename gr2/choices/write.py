"""Writes a batch of lists choice by choice, or scores all candidates by the first choice.

A row whose writer is None, or whose list is done, is left as it is.
"""

from collections.abc import Callable, Sequence

from transformers import PreTrainedModel

from gr2.choices.reading import Reading
from gr2.choices.walk import ListWriter, Plan


def begin(model: PreTrainedModel, writers: Sequence[ListWriter], groups: bool = False) -> Reading:
    """Reads what the writers' texts have in common; they keep what is still to be read.

    groups: writers share texts, several each, so that it pays to read every text once before.
    """
    texts: dict[tuple[int, ...], int] = {}
    repeats = [texts.setdefault(tuple(writer.pending), len(texts)) for writer in writers]
    reading, rests = Reading.begin(model, list(map(list, texts)), repeats, groups)
    for writer, rest in zip(writers, rests, strict=True):
        writer.pending = rest
    return reading


def write_lists(reading: Reading, writers: Sequence[ListWriter | None], anyone: Callable[[bool], bool] = bool) -> None:
    """Writes the lists to their ends: a pass for each candidate but the last one.

    anyone: whether any process still writes. A model whose parts lie on several needs all of them in every pass.
    """
    while anyone(any(plans := plan_all(writers))):
        chosen = []
        for row, (plan, log_probs) in enumerate(zip(plans, reading.read(plans), strict=True)):
            if plan:
                chosen += [(row, index) for index in writers[row].choose(log_probs)]
        reading.keep(chosen)


def score_first(reading: Reading, writers: Sequence[ListWriter | None]) -> list[list[float] | None]:
    """In one pass, for each list the log-probability of each candidate to be written first; they sum to 1."""
    plans = plan_all(writers)
    scores = reading.read(plans) if any(plans) else [[]] * len(plans)
    found = []
    for writer, plan, log_probs in zip(writers, plans, scores, strict=True):
        found.append(writer.score_candidates(log_probs) if plan else writer and [0.0])
    return found


def plan_all(writers: Sequence[ListWriter | None]) -> list[Plan | None]:
    return [writer.plan() if writer and not writer.done else None for writer in writers]


def order_by_scores(scores: Sequence[float]) -> tuple[list[int], list[float]]:
    """The candidates by falling score, equal ones in the input order; and their scores in that order."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    return order, [scores[index] for index in order]
