"""What a run of gr2 traces gave: counts, which the same run gives again, and apart from them its speed."""

from collections import Counter

import numpy as np

from gr2.files.slates import Slate

PERCENTILES = (50, 90, 99)


def summarise(rows: list[dict], slates: list[Slate]) -> dict:
    """Of all samples; no seconds here, so that the same run gives the same summary.

    `accepted_by_input_rank`: of the slates whose first relevant item has this rank (from 1) in the input order, how many
    got an accepted trace. Where the share falls with the rank, the traces teach to leave the order as it is.
    """
    accepted = [row for row in rows if row["accepted"]]
    asked, helped = ({row["slate_id"] for row in some} for some in (rows, accepted))
    return {
        "mode": rows[0]["mode"] if rows else None,
        "teacher": rows[0]["teacher"] if rows else None,
        "slates": len(asked),
        "slates_accepted": len(helped),
        "samples": len(rows),
        "accepted": len(accepted),
        "accepted_share": round(len(accepted) / max(1, len(rows)), 4),
        "reasons": dict(sorted(Counter(row["reason"] for row in rows if row["reason"]).items())),
        "accepted_by_input_rank": by_input_rank(slates, helped),
        "prompt_tokens": sum(row["prompt_tokens"] for row in rows),
        "completion_tokens": sum(row["completion_tokens"] for row in rows),
        "tokens_a_completion": spread([row["completion_tokens"] for row in rows]),
    }


def by_input_rank(slates: list[Slate], helped: set[str]) -> dict[str, dict]:
    counts: dict[int, list[bool]] = {}
    for slate in slates:
        if not slate.relevant:
            continue
        rank = slate.first_relevant(slate.candidates) + 1
        counts.setdefault(rank, []).append(slate.slate_id in helped)
    return {
        str(rank): {"slates": len(found), "accepted": sum(found), "share": round(sum(found) / len(found), 4)}
        for rank, found in sorted(counts.items())
    }


def spread(tokens: list[int]) -> dict[str, float]:
    """Mean, percentiles and longest."""
    if not tokens:
        return {}
    percentiles = {f"p{percent}": round(float(np.percentile(tokens, percent)), 1) for percent in PERCENTILES}
    return {"mean": round(float(np.mean(tokens)), 1), **percentiles, "longest": max(tokens)}


def timing(rows: list[dict], seconds: float) -> dict:
    """Of the samples of this process, from the first request to the last answer: loading the model is not in it."""
    tokens = sum(row["completion_tokens"] for row in rows)
    return {
        "samples": len(rows),
        "completion_tokens": tokens,
        "seconds": round(seconds, 2),
        "completion_tokens_per_second": round(tokens / seconds, 1) if seconds else 0.0,
    }
