"""Reads a server's answers strictly: the client library takes whatever comes under HTTP 200 for one."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from gr2.masking import mask
from gr2.samplers.base import Sample

LENGTH = ("length", "max_tokens")  # `finish_reason` of an answer that was cut off at max_tokens
BROKEN_OFF = ("abort", "error", "cancelled")  # of one that the server did not finish


class UnusableAnswer(Exception):
    """The server answered, but not with a chat completion; the message says what came instead."""


def read_completion(body: str) -> Sample:
    """The first choice of a chat completion (the body of a 200). Raises UnusableAnswer where the server failed.

    A model that said nothing has an empty text; null content counts as that only where the model was still thinking.
    `finish_reason` is stop, length, content_filter or refusal; token counts that are missing or odd are 0.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise UnusableAnswer(f"expected JSON, found '{mask(shorten(body))}'") from None
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise UnusableAnswer(f"expected choices with a message, found '{mask(shorten(body))}'")
    usage = answer["usage"] if isinstance(answer.get("usage"), dict) else {}
    tokens = token_count(usage.get("prompt_tokens")), token_count(usage.get("completion_tokens"))
    text, refusal, finished = message.get("content"), message.get("refusal"), choice.get("finish_reason")
    if finished == "content_filter":
        return Sample(text if isinstance(text, str) else "", "content_filter", *tokens)
    if text is None and refusal and isinstance(refusal, str):
        return Sample(refusal, "refusal", *tokens)
    if text is None and (finished in LENGTH or message.get("reasoning_content") or message.get("reasoning")):
        text = ""
    if not isinstance(text, str) or finished in BROKEN_OFF:
        raise UnusableAnswer(f"expected a message with text, found '{shorten(json.dumps(choice))}'")
    return Sample(text, "length" if finished in LENGTH else "stop", *tokens)


def token_count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks to wait: `Retry-After` is a number or an HTTP date. None where it says nothing."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value).replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
        except ValueError:
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def describe_failure(body: str) -> str:
    """The message of an answer with an error status, or what came instead."""
    try:
        error = json.loads(body)["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (ValueError, RecursionError, KeyError, TypeError):
        message = body
    return mask(shorten(str(message)))


def shorten(text: str) -> str:
    """The text on one line, cut after 200 characters, for a message."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:200] + "..."
