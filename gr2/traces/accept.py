"""Which of a teacher's answers become training data: pure rules, each with a short name for the counts."""

import re

from gr2.prompts import REASONS as UNUSABLE
from gr2.prompts import Answer
from gr2.semantic_ids.tokens import SID

LEAST_WORDS = 5
RUN = 8  # words in a row that count as copied when the prompt has them too
CODE = re.compile(r"<s_[a-z]_|<\|sid_")
WORD = re.compile(r"[^\W\d_]{2,}")
# Why an answer is not accepted: unusable as a ranking, or usable and no good example.
REASONS = (*UNUSABLE, "relevant_not_first", "short_explanation", "invented_id", "copied_prompt")


def judge(answer: Answer, prompt: str, relevant: set[str], has_trace: bool = True) -> str | None:
    """One of REASONS, or None for an answer to learn from.

    `prompt` is all the text that the teacher saw, with semantic IDs as in the answer's reasoning; `relevant` are the
    slate's positive items, any of which may come first (GR2's rejection sampling, 2602.07774).
    """
    if answer.ranking is None:
        return answer.reason
    if answer.ranking[0] not in relevant:
        return "relevant_not_first"
    if not has_trace:
        return None
    if len(WORD.findall(SID.sub(" ", answer.reasoning))) < LEAST_WORDS:
        return "short_explanation"
    if cites_unknown(answer.reasoning, prompt):
        return "invented_id"
    if copies(answer.reasoning, prompt):
        return "copied_prompt"
    return None


def cites_unknown(reasoning: str, prompt: str) -> bool:
    """True if the reasoning has a semantic ID that the prompt has not, or a piece of one."""
    cited = {match[0] for match in SID.finditer(reasoning)}
    shown = {match[0] for match in SID.finditer(prompt)}
    return not cited <= shown or bool(CODE.search(SID.sub(" ", reasoning)))


def copies(reasoning: str, prompt: str) -> bool:
    """True if more than half of the reasoning's runs of `RUN` words (all of it, where shorter) are the prompt's."""
    said, seen = _words(reasoning), " " + " ".join(_words(prompt)) + " "
    length = min(RUN, len(said))
    runs = [" ".join(said[start : start + length]) for start in range(len(said) - length + 1)]
    return 2 * sum(f" {run} " in seen for run in runs) > len(runs)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
