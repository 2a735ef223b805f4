"""What a batch of answers did to the order it was given: the numbers that show reward hacking."""

from collections.abc import Sequence

from scipy.stats import kendalltau

from gr2.answers import REASONS, Answer
from gr2.rl.rewards import target_rank


def diagnose(
    answers: Sequence[Answer], candidates: Sequence[list[str]], labels: Sequence[list[float]]
) -> dict[str, float]:
    """Shares over a batch, by name. `valid` and `invalid/KIND` are of all answers, the rest of the valid ones.

    identity_rate: the input order was copied. kendall_tau: to the input order. promoted / kept / demoted: the
    target's rank got better, stayed, got worse. first: the target is first. first_sunk: what was first is last now, the
    hack of gr2/rl/blind_orders.py. trace_words: words of the explanation.
    """
    valid = [
        (answer.ranking, *slate) for answer, *slate in zip(answers, candidates, labels, strict=True) if answer.ranking
    ]
    facts = {"valid": len(valid) / len(answers)}
    facts |= {f"invalid/{kind}": sum(answer.reason == kind for answer in answers) / len(answers) for kind in REASONS}
    if not valid:
        return facts
    moves = [
        (target_rank(given, given, relevant), target_rank(ranking, given, relevant))
        for ranking, given, relevant in valid
    ]
    position = [{item: rank for rank, item in enumerate(given)} for _, given, _ in valid]
    taus = [
        kendalltau([at[item] for item in ranking], range(len(ranking))).statistic if len(ranking) > 1 else 1.0
        for (ranking, _, _), at in zip(valid, position, strict=True)
    ]
    share = 1 / len(valid)
    return facts | {
        "identity_rate": share * sum(ranking == given for ranking, given, _ in valid),
        "kendall_tau": share * float(sum(taus)),
        "promoted": share * sum(after < before for before, after in moves),
        "kept": share * sum(after == before for before, after in moves),
        "demoted": share * sum(after > before for before, after in moves),
        "first": share * sum(after == 1 for _, after in moves),
        "first_sunk": share * sum(len(given) > 1 and ranking[-1] == given[0] for ranking, given, _ in valid),
        "rank_change": share * sum(before - after for before, after in moves),
        "trace_words": share * sum(len(answer.reasoning.split()) for answer in answers if answer.ranking),
    }
