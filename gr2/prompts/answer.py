"""Writes and parses answers. Schema and grammar (prompts/schema.py, samplers/) hold the same format.

An answer is one JSON object, `{"explanation": str, "recommendations": [semantic ID, ...]}`, or the ranking alone.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gr2.data.catalogue import Catalogue

# Why an answer is unusable; `Answer.reason` is one of these, or None.
REASONS = ("no_json", "truncated", "wrong_fields", "empty_explanation", "unknown_id", "duplicate_id", "wrong_length")
CUT_OFF = 0.02  # share of answers from which on it is worth saying that they are cut off
WITHHELD = "withheld"  # by the service, as `finish_reason` says: not the model's mistake, and none of REASONS
WITHHELD_BY = ("content_filter", "refusal")
ATTEMPTS = 32  # objects are looked for at the last 32 possible starts of a completion only: the time stays linear
OBJECT_START = re.compile(r'\{(?=[ \t\n\r]*["}])')
OPENING, CLOSING = '{"explanation": "', '", "recommendations": ['


@dataclass(frozen=True)
class Answer:
    """A parsed completion. `ranking` holds item ids; if it is None, `reason` (one of REASONS, or WITHHELD) says why."""

    reasoning: str = ""
    ranking: list[str] | None = None
    reason: str | None = None


def write_answer(reasoning: str | None, ranking: Sequence[str], catalogue: Catalogue) -> str:
    """The completion that a perfect model would give; `reasoning=None` writes the ranking alone."""
    answer = {} if reasoning is None else {"explanation": reasoning}
    return json.dumps(answer | {"recommendations": [catalogue.sid[item_id] for item_id in ranking]}, ensure_ascii=False)


def reasoning_span(answer: str) -> tuple[int, int]:
    """Start and end of the explanation's text, without its quotes, in what `write_answer` wrote; (0, 0) if it has none.

    JSON escapes quotes, so the text itself cannot hold the marks searched for.
    """
    if not answer.startswith(OPENING):
        return 0, 0
    return len(OPENING), answer.index(CLOSING)


def parse(
    completion: str,
    candidates: Sequence[str],
    sids: dict[str, str],
    has_trace: bool = True,
    finish_reason: str = "stop",
) -> Answer:
    """Reads a completion strictly; never raises. `sids` maps item id -> semantic ID.

    The ranking must be a permutation of the candidates. Text before the object (a `<think>` block that the chat
    template opened, say) and after it is ignored; the last object that has `recommendations` counts.
    """
    if finish_reason in WITHHELD_BY:
        return Answer(reason=WITHHELD)
    answer, truncated = _last_object(completion)
    if answer is None:
        return Answer(reason="truncated" if truncated else "no_json")
    explanation, ranking = answer.get("explanation", ""), answer["recommendations"]
    if not isinstance(explanation, str) or not isinstance(ranking, list):
        return Answer(reason="wrong_fields")
    reasoning = explanation.strip().encode("utf-8", "replace").decode()  # `\ud800` is JSON, but half a character
    if has_trace and not reasoning:
        return Answer(reason="empty_explanation")
    by_sid = {sids[item_id]: item_id for item_id in candidates}
    if any(not isinstance(sid, str) or sid not in by_sid for sid in ranking):
        return Answer(reasoning, reason="unknown_id")
    if len(set(ranking)) != len(ranking):
        return Answer(reasoning, reason="duplicate_id")
    if len(ranking) != len(candidates):
        return Answer(reasoning, reason="wrong_length")
    return Answer(reasoning, [by_sid[sid] for sid in ranking])


def _last_object(text: str) -> tuple[dict | None, bool]:
    """The last JSON object with `recommendations` in a text, or None; and whether an object in it is never closed."""
    decoder = json.JSONDecoder()
    starts = [match.start() for match in OBJECT_START.finditer(text)]
    end = starts[-ATTEMPTS] if len(starts) > ATTEMPTS else 0  # the text before it is not read
    answer, truncated = None, False
    for start in starts[-ATTEMPTS:]:
        if start < end:  # inside an object that was read
            continue
        truncated = truncated or "{" in text[end:start]
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):  # ValueError: also integers of thousands of digits
            truncated, end = True, start + 1
        else:
            if isinstance(value, dict) and "recommendations" in value:
                answer = value
    return answer, truncated or "{" in text[end:]


def hint_at_limit(reasons: Mapping[str, int], answers: int, max_tokens: int) -> str:
    """What to do where many answers end before their list does, on a line of its own; "" where few or none do."""
    cut = reasons.get("truncated", 0)
    if cut <= CUT_OFF * answers:
        return ""
    return f"\n{cut} answers were cut off: --max_tokens {max_tokens} is too small for them, or the model does not stop"
