"""What a batch of answers did to the order it was given: the numbers that show reward hacking."""

from collections.abc import Sequence

from scipy.stats import kendalltau

from gr2.files.slates import Slate
from gr2.prompts.answer import REASONS, Answer


def diagnose(answers: Sequence[Answer], slates: Sequence[Slate], shown: Sequence[list[str]]) -> dict[str, float]:
    """Shares over a batch, by name. `valid` and `invalid/KIND` are of all answers, the rest of the valid ones.

    slates: with labels, and candidates in the pre-ranker's order. shown: the orders that the prompts showed.

    identity_rate: the pre-ranker's order came out. copied_shown: the order that was shown came out; the two differ
    where candidates are shuffled. kendall_tau, kendall_tau_shown: to these orders.
    promoted / kept / demoted: the first relevant candidate has a better, the same, a worse rank than the first relevant
    one of the pre-ranker's order. rank_change: by how many ranks. first: a relevant candidate is first.
    first_sunk: what the pre-ranker had first is last, the hack of gr2/rl/blind_orders.py.
    trace_words: words of the explanation.
    """
    rows = zip(answers, slates, shown, strict=True)
    valid = [(answer.ranking, slate, seen) for answer, slate, seen in rows if answer.ranking]
    metrics = {"valid": len(valid) / len(answers)}
    metrics |= {f"invalid/{kind}": sum(answer.reason == kind for answer in answers) / len(answers) for kind in REASONS}
    if not valid:
        return metrics
    moves = [(slate.first_relevant(slate.candidates), slate.first_relevant(ranking)) for ranking, slate, _ in valid]
    sunk = [len(ranking) > 1 and ranking[-1] == slate.candidates[0] for ranking, slate, _ in valid]
    share = 1 / len(valid)
    return metrics | {
        "identity_rate": share * sum(ranking == slate.candidates for ranking, slate, _ in valid),
        "copied_shown": share * sum(ranking == seen for ranking, _, seen in valid),
        "kendall_tau": share * sum(tau(ranking, slate.candidates) for ranking, slate, _ in valid),
        "kendall_tau_shown": share * sum(tau(ranking, seen) for ranking, _, seen in valid),
        "promoted": share * sum(after < before for before, after in moves),
        "kept": share * sum(after == before for before, after in moves),
        "demoted": share * sum(after > before for before, after in moves),
        "first": share * sum(after == 0 for _, after in moves),
        "first_sunk": share * sum(sunk),
        "rank_change": share * sum(before - after for before, after in moves),
        "trace_words": share * sum(len(answer.reasoning.split()) for answer in answers if answer.ranking),
    }


def tau(ranking: Sequence[str], order: Sequence[str]) -> float:
    """Kendall's tau of two orders of the same items; 1 for a single item."""
    if len(order) == 1:
        return 1.0
    rank_in = {item: rank for rank, item in enumerate(order)}
    return float(kendalltau([rank_in[item] for item in ranking], range(len(ranking))).statistic)
