"""Counts of a run of gr2 traces or gr2 template, and apart from them, since it differs from run to run, the speed."""

from collections import Counter

import numpy as np

from gr2.files.slates import Slate

PERCENTILES = (50, 90, 99)


def summarise(rows: list[dict], slates: list[Slate]) -> dict:
    """Counts over all samples.

    accepted_by_input_rank: of the slates whose first relevant item has this rank (from 1) in the input order, how many
    have an accepted trace. Where the share falls with the rank, the traces teach to leave the order unchanged.
    """
    accepted = [row for row in rows if row["accepted"]]
    slate_ids = {row["slate_id"] for row in rows}
    accepted_ids = {row["slate_id"] for row in accepted}
    return {
        "mode": rows[0]["mode"] if rows else None,
        "teacher": rows[0]["teacher"] if rows else None,
        "slates": len(slate_ids),
        "slates_accepted": len(accepted_ids),
        "samples": len(rows),
        "accepted": len(accepted),
        "accepted_share": round(len(accepted) / max(1, len(rows)), 4),
        "reasons": dict(sorted(Counter(row["reason"] for row in rows if row["reason"]).items())),
        "accepted_by_input_rank": count_by_input_rank(slates, accepted_ids),
        "prompt_tokens": sum(row["prompt_tokens"] for row in rows),
        "completion_tokens": sum(row["completion_tokens"] for row in rows),
        "tokens_a_completion": spread([row["completion_tokens"] for row in rows]),
    }


def count_by_input_rank(slates: list[Slate], accepted_ids: set[str]) -> dict[str, dict]:
    counts: dict[int, list[bool]] = {}
    for slate in slates:
        if not slate.relevant:
            continue
        rank = slate.first_relevant(slate.candidates) + 1
        counts.setdefault(rank, []).append(slate.slate_id in accepted_ids)
    return {
        str(rank): {"slates": len(hits), "accepted": sum(hits), "share": round(sum(hits) / len(hits), 4)}
        for rank, hits in sorted(counts.items())
    }


def describe(summary: dict) -> str:
    """Two sentences for the terminal."""
    by_rank = ", ".join(f"{rank}: {counts['share']}" for rank, counts in summary["accepted_by_input_rank"].items())
    return (
        f"{summary['accepted']} of {summary['samples']} samples accepted, for {summary['slates_accepted']} of "
        f"{summary['slates']} slates; {summary['reasons'] or 'none refused'}\n"
        f"share of slates with an accepted trace, by the relevant item's input rank: {by_rank}"
    )


def spread(tokens: list[int]) -> dict[str, float]:
    """Mean, percentiles and maximum."""
    if not tokens:
        return {}
    percentiles = {f"p{percent}": round(float(np.percentile(tokens, percent)), 1) for percent in PERCENTILES}
    return {"mean": round(float(np.mean(tokens)), 1), **percentiles, "longest": max(tokens)}


def timing(rows: list[dict], seconds: float) -> dict:
    """Speed of this process's samples, from the first request to the last answer, without loading the model."""
    tokens = sum(row["completion_tokens"] for row in rows)
    return {
        "samples": len(rows),
        "completion_tokens": tokens,
        "seconds": round(seconds, 2),
        "completion_tokens_per_second": round(tokens / seconds, 1) if seconds else 0.0,
    }
