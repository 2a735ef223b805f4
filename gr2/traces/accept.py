"""Which of a teacher's answers become training data: pure rules, each with a short name for the counts."""

import re

from gr2.data.text import TOKEN_LOOK_ALIKE
from gr2.prompts import REASONS as UNUSABLE
from gr2.prompts import Answer
from gr2.semantic_ids.tokens import SID

LEAST_WORDS = 5
RUN = 8  # as many words in a row count as copied when the prompt has them too
SID_OR_WORD = re.compile(SID.pattern + r"|\w+")
WORD = re.compile(r"[^\W\d_]{2,}")
# Why an answer is not accepted: unusable as a ranking, or usable and no good example.
REASONS = (
    *UNUSABLE,
    "relevant_not_first",
    "short_explanation",
    "invented_id",
    "stray_token",
    "cites_another",
    "repeats_itself",
    "copied_prompt",
)


def judge(answer: Answer, prompt: str, slate: dict, sids: dict[str, str], has_trace: bool = True) -> str | None:
    """One of REASONS, or None for an answer to learn from.

    `prompt` is all the text that the teacher saw, `sids` maps item id -> semantic ID. Any of `slate["relevant"]`, its
    positive items, may come first (GR2's rejection sampling, 2602.07774). The rules on the explanation are ours.
    """
    if answer.ranking is None:
        return answer.reason
    if answer.ranking[0] not in slate["relevant"]:
        return "relevant_not_first"
    return judge_explanation(answer, prompt, slate, sids) if has_trace else None


def judge_explanation(answer: Answer, prompt: str, slate: dict, sids: dict[str, str]) -> str | None:
    """It cites items of this slate alone, the first-ranked one where it cites candidates, and is the teacher's own."""
    cited = {match[0] for match in SID.finditer(answer.reasoning)}
    history, candidates = ({sids[item_id] for item_id in slate[name]} for name in ("history", "candidates"))
    text = SID.sub(" ", answer.reasoning)
    if len(WORD.findall(text)) < LEAST_WORDS:
        return "short_explanation"
    if not cited <= history | candidates:
        return "invented_id"
    if TOKEN_LOOK_ALIKE.search(text):  # half a semantic ID, or a special token to the student's tokenizer
        return "stray_token"
    if cited & candidates and sids[answer.ranking[0]] not in cited:
        return "cites_another"
    if repeats(answer.reasoning):
        return "repeats_itself"
    return "copied_prompt" if copies(answer.reasoning, prompt) else None


def copies(reasoning: str, prompt: str) -> bool:
    """True if more than half of the reasoning's runs of `RUN` words are the prompt's (where shorter: all of it)."""
    length = min(RUN, len(_words(reasoning)))
    runs, seen = _runs(reasoning, length), set(_runs(prompt, length))
    return 2 * sum(run in seen for run in runs) > len(runs)


def repeats(reasoning: str) -> bool:
    """True if a run of `RUN` words comes twice: small teachers fall into loops."""
    runs = _runs(reasoning, RUN)
    return len(set(runs)) < len(runs)


def _runs(text: str, length: int) -> list[tuple[str, ...]]:
    words = _words(text)
    return [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]


def _words(text: str) -> list[str]:
    return [match[0].lower() for match in SID_OR_WORD.finditer(text)]
