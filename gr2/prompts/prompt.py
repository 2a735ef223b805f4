"""Renders prompts/*.yaml, or a user's own: what a model sees of a slate. What it answers is read by gr2/prompts/answer.py.

A prompt file holds `version`, `system`, `user` (Jinja2, sandboxed), `answer` (the JSON schema of the answer), optional
`max_history`, optional `shows_target` (true: the templates show `target`, the relevant item), and optional `domain`: who the model is, what users do and the domain knowledge to prime it with, all of
which another file can replace. The answer is one JSON object, `{"explanation": str, "recommendations": [semantic ID, ...]}`;
a prompt whose schema has no `explanation` asks for the ranking alone. The schema's `explanation` may have a `pattern`,
a regular expression to decode the explanation under, which is a template as well (its filter `regex` escapes text).
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jinja2.sandbox

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.shipped import shipped
from gr2.files.slates import Slate
from gr2.files.yaml import read_yaml

FILES = shipped("prompts")
FIELDS = {"version", "system", "user", "answer"}
DOMAIN_FIELDS = {"expert", "chose", "choose", "priming"}


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
    shows_target: bool
    domain: dict[str, str]
    priming: str  # empty where it is switched off, or the prompt has none

    @property
    def has_trace(self) -> bool:
        return "explanation" in self.answer["properties"]

    @property
    def label(self) -> dict:
        """What to write beside an output that the prompt was used for."""
        return {
            "name": self.name,
            "version": self.version,
            "domain": self.domain.get("name"),
            "priming": bool(self.priming),
        }


def load_prompt(path: str | Path, domain: str | Path | None = None, priming: bool = True) -> Prompt:
    """Reads a prompt file; InputError where a field is missing, unknown or no valid template.

    `path`: a file, or the name of one in prompts. `domain`: likewise, in prompts/domains, for prompts with
    a domain. `priming=False` leaves GR2's knowledge priming out
    (2602.07774, an ablation there).
    """
    path = _existing(path, FILES)
    values = read_yaml(path)
    max_history = values.pop("max_history", 50)
    shows_target = values.pop("shows_target", False)
    own = values.pop("domain", None)
    if set(values) != FIELDS:
        raise InputError(f"{path}: expected the fields {', '.join(sorted(FIELDS))}, optional max_history and domain, "
                         f"found {', '.join(map(str, values))}")  # fmt: skip
    _check_types(path, values | {"max_history": max_history, "shows_target": shows_target})
    block = _domain(path, own, "general") if own is not None else {}
    if domain is not None:
        if not block:
            raise InputError(f"domain {domain}: {path} has no domain that it could replace")
        domain = _existing(domain, FILES / "domains")
        block = _domain(domain, read_yaml(domain), domain.stem)
    environment = jinja2.sandbox.SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["regex"] = re.escape
    pattern = values["answer"]["properties"].get("explanation", {}).get("pattern")
    try:
        system, user = (environment.from_string(values[name].strip()) for name in ("system", "user"))
        pattern = environment.from_string(pattern) if pattern else None
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{path}: not a Jinja2 template, line {error.lineno}: {error.message}") from None
    return Prompt(path.stem, values["version"], system, user, pattern, values["answer"], max_history, shows_target, block,
                  block.get("priming", "") if priming else "")  # fmt: skip


def prompt_file(name_or_path: str) -> str:
    """The path of a prompt or a domain that comes with gr2 by its name, `student`; anything else as it is."""
    inside = [folder / f"{name_or_path}.yaml" for folder in (FILES, FILES / "domains")]
    found = [str(file) for file in inside if "/" not in str(name_or_path) and file.is_file()]
    return found[0] if found else str(name_or_path)


def _existing(name_or_path: str | Path, folder: Path) -> Path:
    path = Path(prompt_file(str(name_or_path)))
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise InputError(f"{path}: no such file; expected one, or a name of {names}")
    return path


def _check_types(path: Path, values: dict) -> None:
    """InputError for a field of a prompt file that is not of its kind; YAML reads `12:30` or `yes` as no text."""
    for name in ("system", "user"):
        if not isinstance(values[name], str):
            raise InputError(f"{path}: {name}: expected a text, found {values[name]!r}")
    if not isinstance(values["version"], str | int) or isinstance(values["version"], bool):
        raise InputError(f"{path}: version: expected a number or a text, found {values['version']!r}")
    if type(values["max_history"]) is not int or values["max_history"] < 1:
        raise InputError(f"{path}: max_history: expected a whole number of at least 1, found {values['max_history']!r}")
    if not isinstance(values["shows_target"], bool):
        raise InputError(f"{path}: shows_target: expected true or false, found {values['shows_target']!r}")
    answer = values["answer"]
    properties = answer.get("properties") if isinstance(answer, dict) else None
    if not isinstance(properties, dict) or "recommendations" not in properties:
        raise InputError(f"{path}: answer.properties: expected 'recommendations'")
    for name, value in properties.items():
        if name not in ("explanation", "recommendations") or not isinstance(value, dict):
            raise InputError(f"{path}: answer.properties: expected explanation and recommendations, each a mapping, found "
                             f"{name}: {value!r}")  # fmt: skip
    if not isinstance(properties.get("explanation", {}).get("pattern", ""), str):
        raise InputError(f"{path}: answer.properties.explanation.pattern: expected a text")


def _domain(path: str | Path, values: object, name: str) -> dict[str, str]:
    fields = set(values) if isinstance(values, dict) else set()
    if fields != DOMAIN_FIELDS or not all(isinstance(text, str) for text in values.values()):
        raise InputError(f"{path}: expected a domain with the texts {', '.join(sorted(DOMAIN_FIELDS))}, "
                         f"found {', '.join(sorted(map(str, fields))) or 'none'}")  # fmt: skip
    return values | {"name": name}


def render(prompt: Prompt, slate: Slate, catalogue: Catalogue, target: str | None = None) -> list[dict[str, str]]:
    """A slate's chat messages.

    The templates see `history` and `candidates`, lists of items (`sid`, `title`, `category`; candidates also have `facts`,
    see gr2/stages/facts.py), `categories` (the history's, most frequent first), `target`: an item, the relevant one, for
    prompts that have it explained, or None; and `domain` (`expert`, `chose`, `choose`) and `priming`, a text.
    """
    values = _values(prompt, slate, catalogue, target)
    try:
        return [
            {"role": "system", "content": prompt.system.render(values)},
            {"role": "user", "content": prompt.user.render(values)},
        ]
    except Exception as error:  # an unknown name, a target where there is none, or whatever else a template may compute
        raise InputError(f"prompt {prompt.name}: {error}") from None


def answer_schema(prompt: Prompt, slate: Slate, catalogue: Catalogue) -> dict:
    """The prompt's JSON schema, narrowed to this slate: exactly its candidates, each once, and no other item cited.

    `uniqueItems` and `cites` are understood by gr2/samplers/grammar.py.
    """
    schema = json.loads(json.dumps(prompt.answer))
    if prompt.pattern:
        try:
            pattern = prompt.pattern.render(_values(prompt, slate, catalogue)).strip()
        except Exception as error:
            raise InputError(f"prompt {prompt.name}: {error}") from None
        schema["properties"]["explanation"]["pattern"] = pattern
    elif prompt.has_trace:
        schema["properties"]["explanation"]["cites"] = [catalogue.sid[name] for name in shown_items(prompt, slate)]
    schema["properties"]["recommendations"] |= {
        "items": {"enum": [catalogue.sid[item_id] for item_id in slate.candidates]},
        "minItems": len(slate.candidates),
        "maxItems": len(slate.candidates),
        "uniqueItems": True,
    }
    return schema


def shown_items(prompt: Prompt, slate: Slate) -> list[str]:
    """The items that the prompt shows, each once: the latest of the history, and the candidates."""
    return list(dict.fromkeys([*_history(prompt, slate), *slate.candidates]))


def _history(prompt: Prompt, slate: Slate) -> list[str]:
    return slate.history[max(0, len(slate.history) - prompt.max_history) :]


def _values(prompt: Prompt, slate: Slate, catalogue: Catalogue, target: str | None = None) -> dict:
    """What the templates see."""

    def shown(item_id: str) -> dict[str, str]:
        return {
            "sid": catalogue.sid[item_id],
            "title": catalogue.title[item_id],
            "category": catalogue.category[item_id],
        }

    history = [shown(item_id) for item_id in _history(prompt, slate)]
    facts = slate.facts or [{}] * len(slate.candidates)
    candidates = [shown(item_id) | {"facts": known} for item_id, known in zip(slate.candidates, facts, strict=True)]
    categories = Counter(category for item in history for category in item["category"].split(" > ") if category)
    return {
        "history": history,
        "candidates": candidates,
        "categories": [category for category, _ in categories.most_common()],
        "target": shown(target) if target else None,
        "domain": prompt.domain,
        "priming": prompt.priming,
    }
