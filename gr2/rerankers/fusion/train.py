"""Fits a fusion on slates that none of its members was trained on, and says how it was chosen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gr2.data.features import Features, find_names
from gr2.files.artifacts import write_json, write_text
from gr2.files.rankings import Ranking
from gr2.files.slates import Slate
from gr2.rerankers.fusion.choose import FOLDS, describe_way, fit_way, judge_ways, list_ways
from gr2.rerankers.fusion.table import add_features, read_members, score_name
from gr2.rerankers.record import FILES, digests

FILE, TREES_FILE = FILES["fusion"], "trees.txt"  # LightGBM's own text, where the fusion is made of trees


def train_fusion(
    slates: list[Slate],
    members: Sequence[str],
    answers: Sequence[Sequence[Ranking]],
    settings: Sequence[dict | None],
    features: Features,
    folder: str | Path,
    seed: int,
) -> dict:
    """Every slate has a label above 0; answers: each member's rankings of the slates; settings: of a language model how
    it was asked, of another member None.

    Writes and returns fusion.json: the members, every way's NDCG@5 on held-out folds, and the one that was chosen with
    its weights, or with each column's share of what trees.txt gains.
    """
    scored = [all(ranking.scores is not None for ranking in rankings) for rankings in answers]
    names = find_names(slates)
    table = add_features(read_members(slates, answers, scored), names, features.compute(slates, names))
    labels, users = [slate.labels for slate in slates], [slate.user_id for slate in slates]
    shares = np.concatenate([np.array(of_slate) / sum(of_slate) for of_slate in labels])
    alone = [table.ndcg(table.columns([score_name(at)])[:, 0], labels).mean() for at in range(len(members))]
    ways = list_ways(table, len(members), int(np.argmax(alone)))
    values = judge_ways(ways, table, slates, shares, seed)
    chosen = values.mean(1).argmax()
    model = fit_way(ways[chosen], table, shares, seed)
    parts = model if isinstance(model, dict) else share_gains(model)
    report = {
        "members": [
            {
                "reranker": member,
                "scored": gives,
                "ndcg@5": round(float(value), 6),
                "unusable": sum(not ranking.valid for ranking in rankings),
                "settings": how,
                "files": digests(member),
            }
            for member, gives, value, rankings, how in zip(members, scored, alone, answers, settings, strict=True)
        ],
        "slates": len(slates),
        "users": len(set(users)),
        "folds": FOLDS,
        "ways": [describe_way(way, value) for way, value in zip(ways, values.mean(1), strict=True)],
        "chosen": describe_way(ways[chosen], values[chosen].mean()),
        "weights" if isinstance(model, dict) else "gains": parts,
    }
    if not isinstance(model, dict):
        write_text(Path(folder) / TREES_FILE, model.model_to_string())
    write_json(Path(folder) / FILE, report)
    return report


def share_gains(trees) -> dict[str, float]:
    """Each column's share of what the splits gain."""
    gains = trees.feature_importance("gain")
    return dict(zip(trees.feature_name(), (gains / max(gains.sum(), 1e-300)).tolist(), strict=True))
