"""Chooses how to fuse, by folds over users: one member alone, the mean of their scores, weights or trees.

Every way is judged by the NDCG@5 of slates that it was not fitted on, and the best one is taken, of equal ones the
simplest. The best member was picked, and its training stopped, on these same slates, so it looks better than it is and
may be chosen where a fusion would be slightly better.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from gr2.files.slates import Slate
from gr2.rerankers.fusion.models import fit_weights, grow_trees
from gr2.rerankers.fusion.table import Table, score_name

if TYPE_CHECKING:
    from lightgbm import Booster

FOLDS = 5
PENALTIES = (1.0, 0.1, 0.01)
TREES = (20, 40, 80)


@dataclass(frozen=True)
class FusionMethod:
    kind: str  # member, mean, weights or trees
    reads: tuple[str, ...]  # columns
    strength: float | None = None  # of weights the penalty, of trees their number


def list_ways(table: Table, members: int, best: int) -> list[FusionMethod]:
    """From the simplest on; the first is the best member alone."""
    scores, given = tuple(map(score_name, range(members))), table.names[: 2 * members]
    sets = [scores, given, table.names]
    return [
        FusionMethod("member", (scores[best],)),
        FusionMethod("mean", scores),
        *(FusionMethod("weights", names, penalty) for names in sets for penalty in PENALTIES),
        *(FusionMethod("trees", names, count) for names in sets[1:] for count in TREES),
    ]


def fit_way(way: FusionMethod, table: Table, shares: np.ndarray, seed: int) -> "dict[str, float] | Booster":
    if way.kind == "trees":
        return grow_trees(table, way.reads, shares, way.strength, seed)
    if way.kind == "weights":
        return fit_weights(table, way.reads, shares, way.strength)
    return dict.fromkeys(way.reads, 1 / len(way.reads))


def predict(model: "dict[str, float] | Booster", table: Table) -> np.ndarray:
    """Scores of the candidates, float [candidates]; a model of weights, or of trees."""
    if isinstance(model, dict):
        return table.columns(tuple(model)) @ np.array(list(model.values()))
    return model.predict(table.columns(model.feature_name()), num_threads=1)


def judge_ways(
    ways: list[FusionMethod], table: Table, slates: list[Slate], shares: np.ndarray, seed: int
) -> np.ndarray:
    """NDCG@5 of each slate by each way, fitted on the slates of the other folds' users: float [ways, slates]."""
    fold = assign_folds([slate.user_id for slate in slates], seed)
    values = np.zeros((len(ways), len(table.rows)))
    for held in range(FOLDS):
        rest, held_rows = fold != held, np.repeat(fold == held, table.sizes)
        train, held_out, train_shares = table.choose(rest), table.choose(~rest), shares[~held_rows]
        for index, way in enumerate(ways):
            values[index, held_rows] = predict(fit_way(way, train, train_shares, seed), held_out)
    labels = [slate.labels for slate in slates]
    return np.stack([table.ndcg(row, labels) for row in values])


def assign_folds(user_ids: Sequence[str], seed: int) -> np.ndarray:
    """A fold for every row, all of a user in one: int [rows]."""
    users = sorted(set(user_ids))
    random.Random(seed).shuffle(users)
    fold = {user_id: at % FOLDS for at, user_id in enumerate(users)}
    return np.array([fold[user_id] for user_id in user_ids])


def describe_way(way: FusionMethod, value: float) -> dict:
    return {**asdict(way), "reads": list(way.reads), "ndcg@5": round(float(value), 6)}
