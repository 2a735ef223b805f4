"""Which of a teacher's answers become training data: pure rules, each with a short name for the counts."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Literal

from gr2.data.text import TOKEN_LOOK_ALIKE
from gr2.files.sid_tokens import SID
from gr2.files.slates import Slate
from gr2.prompts.answer import REASONS as UNUSABLE
from gr2.prompts.answer import WITHHELD, Answer

LEAST_WORDS = 5
LEAST_SHARE = 0.8  # of the letters, in the expected script; titles in another may be quoted
Script = Literal["prompt", "any", "latin", "cyrillic", "greek", "armenian", "georgian", "hebrew", "arabic",
                 "devanagari", "bengali", "tamil", "telugu", "thai", "hangul", "cjk"]  # fmt: skip
RUN = 8  # this many words in a row count as copied where the prompt has them too
SID_OR_WORD = re.compile(SID.pattern + r"|\w+")
WORD = re.compile(r"[^\W\d_]{2,}")
# Why an answer is not accepted: unusable as a ranking, or usable but no good example.
REASONS = (
    *UNUSABLE,
    WITHHELD,
    "relevant_not_first",
    "relevant_not_in_top",
    "too_little_gain",
    "short_explanation",
    "other_language",
    "invented_id",
    "stray_token",
    "cites_another",
    "repeats_itself",
    "copied_prompt",
)


@dataclass(frozen=True)
class Rules:
    """What makes an answer an example.

    top: the ranking's top N holds a relevant item (GR2's rejection sampling, 2602.07774: 1). gain: the first relevant
    item has moved up at least N ranks. script: of the explanation, see `in_script`.
    """

    top: int = 1
    gain: int = 0
    script: Script = "prompt"


DEFAULT = Rules()


def judge(
    answer: Answer, prompt: str, slate: Slate, sids: dict[str, str], rules: Rules = DEFAULT, has_trace: bool = True
) -> str | None:
    """One of REASONS, or None for an answer to learn from.

    `prompt` is all the text that the teacher saw, `slate.history` the history items in it, and `sids` maps item id ->
    semantic ID. Any relevant item counts as the target. The rules on the explanation are ours.
    """
    if answer.ranking is None:
        return answer.reason
    rank = slate.first_relevant(answer.ranking)
    if rank >= rules.top:
        return "relevant_not_first" if rules.top == 1 else "relevant_not_in_top"
    if rules.gain and slate.first_relevant(slate.candidates) - rank < rules.gain:
        return "too_little_gain"
    return judge_explanation(answer, prompt, slate, sids, rules.script) if has_trace else None


def judge_explanation(answer: Answer, prompt: str, slate: Slate, sids: dict[str, str], script: Script) -> str | None:
    """One of REASONS, or None: it cites shown items only, of candidates the first-ranked, in the teacher's words."""
    cited = {match[0] for match in SID.finditer(answer.reasoning)}
    history = {sids[item_id] for item_id in slate.history}
    candidates = {sids[item_id] for item_id in slate.candidates}
    text = SID.sub(" ", answer.reasoning)
    if len(WORD.findall(text)) < LEAST_WORDS:
        return "short_explanation"
    if not in_script(text, SID.sub(" ", prompt), script):
        return "other_language"
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
    """True if the prompt has more than half of the reasoning's runs of `RUN` words (of a shorter text: all of it)."""
    length = min(RUN, len(_words(reasoning)))
    runs, seen = _runs(reasoning, length), set(_runs(prompt, length))
    return 2 * sum(run in seen for run in runs) > len(runs)


def repeats(reasoning: str) -> bool:
    """True if a run of `RUN` words comes twice: small teachers fall into loops."""
    runs = _runs(reasoning, RUN)
    return len(set(runs)) < len(runs)


def in_script(text: str, prompt: str, script: Script) -> bool:
    """True if at least `LEAST_SHARE` of the text's letters belong to the script.

    `script`: `prompt` (that of most of the prompt's letters), `any`, or the first word of the letters' Unicode names. A
    script is less than a language, but it shows a teacher that drifts from English into Chinese.
    """
    if script == "any":
        return True
    letters = count_scripts(text)
    wanted = [name for name, _ in count_scripts(prompt).most_common(1)] if script == "prompt" else [script]
    return all(letters[name] >= LEAST_SHARE * letters.total() for name in wanted)


def count_scripts(text: str) -> Counter[str]:
    """Script -> number of letters; Chinese characters, hiragana and katakana are one, since Japanese mixes them."""
    return Counter(script_of(letter) for letter in text if letter.isalpha())


@cache
def script_of(letter: str) -> str:
    name = unicodedata.name(letter, "unknown").split()[0].lower()
    return "cjk" if name in ("hiragana", "katakana") else name


def _runs(text: str, length: int) -> list[tuple[str, ...]]:
    words = _words(text)
    return [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]


def _words(text: str) -> list[str]:
    return [match[0].lower() for match in SID_OR_WORD.finditer(text)]
