"""What a teacher wrote, as rows of a report."""

from collections import Counter
from collections.abc import Iterable

import numpy as np


def trace_table(lines: Iterable[dict]) -> list[dict]:
    """Rows by mode and teacher: samples, slates, accepted ones, mean tokens, and why others were not accepted."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for line in lines:
        groups.setdefault((str(line["mode"]), str(line["teacher"])), []).append(line)
    return [
        {
            "mode": mode,
            "teacher": teacher,
            "samples": len(group),
            "slates": len({line["slate_id"] for line in group}),
            "accepted": sum(line["accepted"] for line in group),
            "slates_accepted": len({line["slate_id"] for line in group if line["accepted"]}),
            "tokens": float(np.mean([line["completion_tokens"] for line in group])),
            "reasons": Counter(str(line["reason"]) for line in group if not line["accepted"]).most_common(),
        }
        for (mode, teacher), group in sorted(groups.items())
    ]
