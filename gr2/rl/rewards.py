"""Rewards for reranking, as pure functions; recipes name them (`reward: gr2_conditional`).

Notation of GR2 (2602.07774): K candidates, the target's rank in the input order and in the answer counted from 1,
R_rank = (rank_in - rank_out) / K, R_fmt = 1 for a valid permutation. An unusable answer gets `INVALID` and stays in
its group (2607.01170). Of several relevant candidates the first in the input order is the target.
"""

from collections.abc import Sequence

INVALID = -1.0


def target_rank(order: Sequence[str], candidates: Sequence[str], labels: Sequence[float]) -> int:
    """Rank, from 1, that `order` gives to the first relevant candidate; ValueError if none is relevant."""
    target = next((item for item, label in zip(candidates, labels, strict=True) if label > 0), None)
    if target is None:
        raise ValueError("no candidate is relevant; leave such slates out when training")
    return list(order).index(target) + 1


def rank_gain(ranking: Sequence[str], candidates: Sequence[str], labels: Sequence[float]) -> float:
    """R_rank, in (-1, 1): how far the target moved up, in units of the list's length."""
    before = target_rank(candidates, candidates, labels)
    return (before - target_rank(ranking, candidates, labels)) / len(candidates)


def gr2_conditional(
    ranking: Sequence[str] | None, candidates: Sequence[str], labels: Sequence[float], alpha: float = 0.2
) -> float:
    """GR2's conditional reward: R_rank + alpha if the target was promoted, or was first and stays first; else R_rank.

    Copying an input order whose target is not first earns 0, never the bonus.
    """
    if ranking is None:
        return INVALID
    before, after = (target_rank(order, candidates, labels) for order in (candidates, ranking))
    earned = after < before or after == before == 1
    return (before - after) / len(candidates) + (alpha if earned else 0.0)


def gr2_naive(
    ranking: Sequence[str] | None, candidates: Sequence[str], labels: Sequence[float], alpha: float = 0.2
) -> float:
    """The plain sum R_rank + alpha R_fmt: copying the input order earns alpha without risk. Here to show the hack."""
    return INVALID if ranking is None else rank_gain(ranking, candidates, labels) + alpha


REWARDS = {"gr2_conditional": gr2_conditional, "gr2_naive": gr2_naive}
