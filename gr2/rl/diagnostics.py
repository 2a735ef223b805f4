"""What a batch of answers did to the order it was given: the numbers that show reward hacking."""

from collections.abc import Sequence

from scipy.stats import kendalltau

from gr2.prompts.answer import REASONS, Answer


def diagnose(
    answers: Sequence[Answer],
    candidates: Sequence[list[str]],
    labels: Sequence[list[float]],
    shown: Sequence[list[str]],
) -> dict[str, float]:
    """Shares over a batch, by name. `valid` and `invalid/KIND` are of all answers, the rest of the valid ones.

    candidates: in the pre-ranker's order, with their labels. shown: the same in the order that the prompt showed.

    identity_rate: the pre-ranker's order came out. copied_shown: the order that was shown came out; the two differ where
    candidates are shuffled. kendall_tau, kendall_tau_shown: to these orders.
    promoted / kept / demoted: the relevant candidate that stands first among the relevant ones has a better, the same, a
    worse rank than the relevant one that stands first in the pre-ranker's order. rank_change: by how many places.
    first: a relevant candidate is first. first_sunk: what the pre-ranker had first is last, the hack of
    gr2/rl/blind_orders.py. trace_words: words of the explanation.
    """
    valid = [
        (answer.ranking, *slate)
        for answer, *slate in zip(answers, candidates, labels, shown, strict=True)
        if answer.ranking
    ]
    facts = {"valid": len(valid) / len(answers)}
    facts |= {f"invalid/{kind}": sum(answer.reason == kind for answer in answers) / len(answers) for kind in REASONS}
    if not valid:
        return facts
    moves = []
    for ranking, given, grades, _ in valid:
        relevant = {item for item, grade in zip(given, grades, strict=True) if grade > 0}
        moves.append((best_rank(given, relevant), best_rank(ranking, relevant)))
    share = 1 / len(valid)
    return facts | {
        "identity_rate": share * sum(ranking == given for ranking, given, _, _ in valid),
        "copied_shown": share * sum(ranking == seen for ranking, _, _, seen in valid),
        "kendall_tau": share * sum(tau(ranking, given) for ranking, given, _, _ in valid),
        "kendall_tau_shown": share * sum(tau(ranking, seen) for ranking, _, _, seen in valid),
        "promoted": share * sum(after < before for before, after in moves),
        "kept": share * sum(after == before for before, after in moves),
        "demoted": share * sum(after > before for before, after in moves),
        "first": share * sum(after == 1 for _, after in moves),
        "first_sunk": share * sum(len(given) > 1 and ranking[-1] == given[0] for ranking, given, _, _ in valid),
        "rank_change": share * sum(before - after for before, after in moves),
        "trace_words": share * sum(len(answer.reasoning.split()) for answer in answers if answer.ranking),
    }


def best_rank(order: Sequence[str], relevant: set[str]) -> int:
    """The rank, from 1, of the first relevant item; ValueError where there is none."""
    for rank, item in enumerate(order, 1):
        if item in relevant:
            return rank
    raise ValueError("no candidate is relevant; leave such slates out when training")


def tau(ranking: Sequence[str], order: Sequence[str]) -> float:
    """Kendall's tau of two orders of the same items; 1 for a single item."""
    if len(order) == 1:
        return 1.0
    place = {item: rank for rank, item in enumerate(order)}
    return float(kendalltau([place[item] for item in ranking], range(len(ranking))).statistic)
