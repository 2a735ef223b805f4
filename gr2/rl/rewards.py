"""Rewards for reranking, as pure functions; recipes name them (`reward: gr2_conditional`).

Notation of GR2 (2602.07774): K candidates, the target's rank in the input order and in the answer counted from 1,
R_rank = (rank_in - rank_out) / K, R_fmt = 1 for a valid permutation. An unusable answer gets `INVALID` and stays in
its group (2607.01170). For gr2_* the first of several relevant candidates in the input order is the target; auc and
ndcg are for slates with several, or with grades.
"""

from collections.abc import Callable, Sequence

import numpy as np

from gr2 import metrics
from gr2.files.slates import Slate
from gr2.prompts.answer import Answer
from gr2.rl.diagnostics import diagnose
from gr2.terminal import warn_once

INVALID = -1.0
ReadAnswer = Callable[[str, list[str]], Answer]  # a completion and its slate's candidates -> the answer


def target_rank(order: Sequence[str], slate: Slate) -> int:
    """Rank, from 1, that `order` gives to the first relevant candidate of the input; ValueError if none is relevant."""
    target = slate.candidates[slate.first_relevant(slate.candidates)]
    return list(order).index(target) + 1


def rank_gain(ranking: Sequence[str], slate: Slate) -> float:
    """R_rank, in (-1, 1): how far the target moved up, in units of the list's length."""
    return (target_rank(slate.candidates, slate) - target_rank(ranking, slate)) / len(slate.candidates)


def gr2_conditional(ranking: Sequence[str] | None, slate: Slate, alpha: float = 0.2) -> float:
    """GR2's conditional reward: R_rank + alpha if the target was promoted, or was first and stays first; else R_rank.

    Copying an input order whose target is not first earns 0, never the bonus.
    """
    if ranking is None:
        return INVALID
    gain = rank_gain(ranking, slate)
    earned = gain > 0 or (gain == 0 and target_rank(ranking, slate) == 1)
    return gain + (alpha if earned else 0.0)


def gr2_naive(ranking: Sequence[str] | None, slate: Slate, alpha: float = 0.2) -> float:
    """The plain sum R_rank + alpha R_fmt: copying the input order earns alpha without risk. Here to show the hack."""
    return INVALID if ranking is None else rank_gain(ranking, slate) + alpha


def auc(ranking: Sequence[str] | None, slate: Slate, alpha: float = 0.2) -> float:
    """R_AUC, the share of (relevant, not relevant) pairs in the right order, under the de-hacked rule."""
    return dehacked(_auc, has_pairs, ranking, slate, alpha)


def ndcg(ranking: Sequence[str] | None, slate: Slate, alpha: float = 0.2) -> float:
    """R_NDCG over the whole list, grades are gains, under the de-hacked rule."""
    return dehacked(_ndcg, has_grades, ranking, slate, alpha)


def dehacked(
    measure: Callable[..., float],
    differs: Callable[..., bool],
    ranking: Sequence[str] | None,
    slate: Slate,
    alpha: float,
) -> float:
    """The Technical Report's rule (2606.31984): measure + alpha, but a copy of an input with AUC < 1 gets alpha alone.
    Ours: the measure itself decides, since with grades a slate with AUC 1 may have an NDCG below 1.

    `measure` takes labels in ranked order; `differs` says whether it differs between orders of these labels. ValueError
    where it does not.
    """
    if ranking is None:
        return INVALID
    if not differs(slate.labels):
        raise ValueError(f"slate_id '{slate.slate_id}': no pair of candidates to order")
    if list(ranking) == slate.candidates and measure(slate.labels) < 1:
        return alpha
    return measure([slate.grades[item] for item in ranking]) + alpha


def has_pairs(labels: Sequence[float]) -> bool:
    """Whether some candidate is relevant and some is not."""
    return any(label > 0 for label in labels) and any(label == 0 for label in labels)


def has_grades(labels: Sequence[float]) -> bool:
    """Whether two candidates have different labels."""
    return len(set(labels)) > 1


def _auc(ranked: Sequence[float]) -> float:
    return float(metrics.auc(np.array([ranked]))[0])


def _ndcg(ranked: Sequence[float]) -> float:
    return float(metrics.ndcg(np.array([ranked]), len(ranked))[0])


REWARDS = {"gr2_conditional": gr2_conditional, "gr2_naive": gr2_naive, "auc": auc, "ndcg": ndcg}
# For some rewards a slate needs more than a relevant candidate: the condition on its labels, and that in words.
NEEDS = {
    "auc": (has_pairs, "a relevant and a not relevant candidate"),
    "ndcg": (has_grades, "two candidates with different labels"),
}


def reward_functions(
    name: str, alpha: float, read: ReadAnswer, known: set[int], max_tokens: int, overlong_cache: int
) -> list[Callable[..., list[float]]]:
    """The ranking reward `name` and, with overlong_cache, DAPO's penalty for the last tokens of `max_tokens`.

    known: the tokenizer's tokens. An answer with another one, which decodes to nothing, is unusable.
    """

    def ranking_reward(completions, completion_ids, slate_id, candidates, labels, shown, log_metric, **_):
        """Parses each completion, logs the diagnostics, returns one float per completion."""
        slates = [Slate(*row) for row in zip(slate_id, [[]] * len(slate_id), candidates, labels, strict=True)]
        answers = [
            read(turns[0]["content"], slate.candidates) if known.issuperset(ids) else Answer(reason="unknown_id")
            for turns, ids, slate in zip(completions, completion_ids, slates, strict=True)
        ]
        shares = diagnose(answers, slates, shown)
        for metric, value in shares.items():
            log_metric(metric, value)
        if shares["valid"] == 0:
            advice = "nothing can be learned from it (more SFT, or structured: true)"
            warn_once(f"a whole batch of unusable answers: {advice}")
        return [REWARDS[name](answer.ranking, slate, alpha) for answer, slate in zip(answers, slates, strict=True)]

    if not overlong_cache:
        return [ranking_reward]
    from trl.rewards import get_soft_overlong_punishment  # slow to import

    return [ranking_reward, get_soft_overlong_punishment(max_tokens, overlong_cache)]
