"""Renders prompts/*.yaml and parses answers: the only place that knows the answer format.

A prompt file holds `version`, `system`, `user` (Jinja2, sandboxed), `answer` (the JSON schema of the answer) and
optional `max_history`. The answer is one JSON object, `{"explanation": str, "recommendations": [semantic ID, ...]}`;
a prompt whose schema has no `explanation` asks for the ranking alone. The schema's `explanation` may have a `pattern`,
a regular expression to decode the explanation under, which is a template as well (its filter `regex` escapes text).
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2.sandbox

from gr2.config import read_yaml
from gr2.data.catalogue import Catalogue
from gr2.errors import InputError

FIELDS = {"version", "system", "user", "answer"}
# Why an answer is unusable; `Answer.reason` is one of these, or None.
REASONS = ("no_json", "truncated", "wrong_fields", "empty_explanation", "unknown_id", "duplicate_id", "wrong_length")


@dataclass(frozen=True)
class Prompt:
    """One prompt file: two templates and the schema of the answer."""

    name: str
    version: int
    system: jinja2.Template
    user: jinja2.Template
    pattern: jinja2.Template | None
    answer: dict
    max_history: int

    @property
    def has_trace(self) -> bool:
        return "explanation" in self.answer["properties"]


@dataclass(frozen=True)
class Answer:
    """A parsed completion: `ranking` (item ids) is None, and `reason` says why, where it is unusable."""

    reasoning: str = ""
    ranking: list[str] | None = None
    reason: str | None = None


def load_prompt(path: str | Path) -> Prompt:
    """Reads a prompt file; InputError where a field is missing, unknown or no valid template."""
    path = Path(path)
    values = read_yaml(path)
    max_history = values.pop("max_history", 50)
    if set(values) != FIELDS:
        raise InputError(f"{path}: expected the fields {', '.join(sorted(FIELDS))} and optional max_history, "
                         f"found {', '.join(map(str, values))}")  # fmt: skip
    environment = jinja2.sandbox.SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["regex"] = re.escape
    if "recommendations" not in values["answer"].get("properties", {}):
        raise InputError(f"{path}: answer.properties: expected 'recommendations'")
    pattern = values["answer"]["properties"].get("explanation", {}).get("pattern")
    try:
        system, user = (environment.from_string(values[name].strip()) for name in ("system", "user"))
        pattern = environment.from_string(pattern) if pattern else None
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{path}: not a Jinja2 template, line {error.lineno}: {error.message}") from None
    return Prompt(path.stem, values["version"], system, user, pattern, values["answer"], max_history)


def render(prompt: Prompt, slate: dict, catalogue: Catalogue, target: str | None = None) -> list[dict[str, str]]:
    """A slate's chat messages.

    The templates see `history` and `candidates`, lists of items (`sid`, `title`, `category`; candidates also have `facts`,
    see gr2/data/facts.py), `categories` (the history's, most frequent first) and `target`: an item, the relevant one, for
    prompts that have it explained, or None.
    """
    values = _values(prompt, slate, catalogue, target)
    try:
        return [
            {"role": "system", "content": prompt.system.render(values)},
            {"role": "user", "content": prompt.user.render(values)},
        ]
    except jinja2.TemplateError as error:  # an unknown name, or a target where there is none
        raise InputError(f"prompt {prompt.name}: {error.message}") from None


def answer_schema(prompt: Prompt, slate: dict, catalogue: Catalogue) -> dict:
    """The prompt's JSON schema, narrowed to this slate: exactly its candidates, each once, and no other item cited.

    `uniqueItems` and `cites` are understood by gr2/language_model/grammar.py.
    """
    schema = json.loads(json.dumps(prompt.answer))
    if prompt.pattern:
        schema["properties"]["explanation"]["pattern"] = prompt.pattern.render(
            _values(prompt, slate, catalogue)
        ).strip()
    elif prompt.has_trace:
        shown = dict.fromkeys([*slate["history"][-prompt.max_history :], *slate["candidates"]])
        schema["properties"]["explanation"]["cites"] = [catalogue.sid[item_id] for item_id in shown]
    schema["properties"]["recommendations"] |= {
        "items": {"enum": [catalogue.sid[item_id] for item_id in slate["candidates"]]},
        "minItems": len(slate["candidates"]),
        "maxItems": len(slate["candidates"]),
        "uniqueItems": True,
    }
    return schema


def _values(prompt: Prompt, slate: dict, catalogue: Catalogue, target: str | None = None) -> dict:
    """What the templates see."""

    def shown(item_id: str) -> dict[str, str]:
        return {
            "sid": catalogue.sid[item_id],
            "title": catalogue.title[item_id],
            "category": catalogue.category[item_id],
        }

    history = [shown(item_id) for item_id in slate["history"][-prompt.max_history :]]
    facts = slate.get("facts") or [{}] * len(slate["candidates"])
    candidates = [shown(item_id) | {"facts": known} for item_id, known in zip(slate["candidates"], facts, strict=True)]
    categories = Counter(category for item in history for category in item["category"].split(" > ") if category)
    return {
        "history": history,
        "candidates": candidates,
        "categories": [category for category, _ in categories.most_common()],
        "target": shown(target) if target else None,
    }


def write_answer(reasoning: str | None, ranking: Sequence[str], catalogue: Catalogue) -> str:
    """The completion that a perfect model would give; `reasoning=None` writes the ranking alone."""
    answer = {} if reasoning is None else {"explanation": reasoning}
    return json.dumps(answer | {"recommendations": [catalogue.sid[item_id] for item_id in ranking]}, ensure_ascii=False)


def parse(completion: str, candidates: Sequence[str], sids: dict[str, str], has_trace: bool = True) -> Answer:
    """Reads a completion strictly; never raises. `sids` maps item id -> semantic ID.

    The ranking must be a permutation of the candidates. Text before the object (a `<think>` block that the chat
    template opened, say) and after it is ignored; the last object that has `recommendations` counts.
    """
    answer, truncated = _last_object(completion)
    if answer is None:
        return Answer(reason="truncated" if truncated else "no_json")
    explanation, listed = answer.get("explanation", ""), answer["recommendations"]
    if not isinstance(explanation, str) or not isinstance(listed, list):
        return Answer(reason="wrong_fields")
    reasoning = explanation.strip().encode("utf-8", "replace").decode()  # `\ud800` is JSON, but half a character
    if has_trace and not reasoning:
        return Answer(reason="empty_explanation")
    by_sid = {sids[item_id]: item_id for item_id in candidates}
    if any(not isinstance(sid, str) or sid not in by_sid for sid in listed):
        return Answer(reasoning, reason="unknown_id")
    if len(set(listed)) != len(listed):
        return Answer(reasoning, reason="duplicate_id")
    if len(listed) != len(candidates):
        return Answer(reasoning, reason="wrong_length")
    return Answer(reasoning, [by_sid[sid] for sid in listed])


def _last_object(text: str) -> tuple[dict | None, bool]:
    """The last JSON object with `recommendations` in a text; whether an unclosed one follows or stands alone."""
    decoder = json.JSONDecoder()
    found, truncated, position = None, False, text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):  # ValueError: also integers of thousands of digits
            truncated, end = True, position + 1
        else:
            if isinstance(value, dict) and "recommendations" in value:
                found = value
        position = text.find("{", end)
    return found, truncated
