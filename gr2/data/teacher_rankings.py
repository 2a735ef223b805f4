"""Rankings that another reranker gave: as they are in a file, and as the probabilities that it would teach."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.columns import cast_ids, read_table, require_columns
from gr2.files.rankings import Ranking, read_rankings
from gr2.files.slates import Slate

UNKNOWN = 0.5  # the probability of every choice of a teacher that gives none
LEAST = 1e-9


def read_whole_rankings(path: str | Path, slates: Sequence[Slate], advice: str = "") -> list[Ranking]:
    """The rankings of these slates, in their order; InputError where one is missing or has not a score per item."""
    wanted = {"slate_id": [slate.slate_id for slate in slates], "candidates": [slate.candidates for slate in slates]}
    table = read_rankings(path, pl.DataFrame(wanted), advice)
    known = [name for name in Ranking.__dataclass_fields__ if name in table.columns]
    rankings = [Ranking(**row) for row in table.select(known).iter_rows(named=True)]
    for ranking in rankings:
        for name in ("scores", "choice_log_probs"):
            values = vars(ranking)[name]
            if values is not None and (len(values) != len(ranking.ranking) or not np.isfinite(values).all()):
                where = f"{path}: slate_id '{ranking.slate_id}', column '{name}'"
                raise InputError(f"{where}: expected one finite number per candidate, found {values}")
    return rankings


def read_teacher_slates(path: str, slates: Sequence[Slate], temperature: float, weight: float) -> list[Slate]:
    """The slates that a teacher ranked, in whose `labels` stands what it teaches: see `first_choices`.

    With a weight below 1, slates with a target have a mixture there, `weight` of the teacher's probabilities and the
    rest of the labels' shares; cross-entropy with it is the sum of both losses, with these weights. Slates without a
    target are the teacher's alone. Unusable answers teach nothing. InputError where no slate is left.
    """
    table = read_table(path)
    require_columns(table, path, ("slate_id",))
    known = set(cast_ids(table, path, "slate_id"))
    ranked = [slate for slate in slates if slate.slate_id in known]
    relabelled = []
    for slate, ranking in zip(ranked, read_whole_rankings(path, ranked) if ranked else [], strict=True):
        if ranking.valid:
            shares = first_choices(slate, ranking, temperature)
            if weight < 1 and any(slate.labels):
                shares = weight * shares + (1 - weight) * np.array(slate.labels) / sum(slate.labels)
            relabelled.append(replace(slate, labels=shares.tolist()))
    if not relabelled:
        raise InputError(f"--teacher {path}: expected usable rankings of train slates (`--split train`), found none")
    return relabelled


def first_choices(slate: Slate, ranking: Ranking, temperature: float) -> np.ndarray:
    """The teacher's probability of each candidate to be put first, float [K]; above 1, a temperature evens them out.

    From scores their softmax. From the log-probabilities of choices one after the other what they are if its choices
    are Plackett-Luce's: what is left when the earlier ones were not made, times the choice's own. From an order alone
    the same with UNKNOWN, so a half, a quarter, an eighth, ...
    """
    place = {item_id: at for at, item_id in enumerate(ranking.ranking)}
    if ranking.scores is not None:
        logs = np.array(ranking.scores)
    else:
        chosen = np.full(len(place), UNKNOWN)
        if ranking.choice_log_probs is not None:
            chosen = np.exp(ranking.choice_log_probs)
        left = np.log(np.maximum(1 - chosen, LEAST)).cumsum()
        logs = np.log(np.maximum(chosen, LEAST)) + np.concatenate([[0.0], left[:-1]])
        logs[-1] = left[-2] if len(place) > 1 else 0.0  # the last one is not chosen, it is left
    odds = np.exp((logs - logs.max()) / temperature)
    return (odds / odds.sum())[[place[item_id] for item_id in slate.candidates]]
