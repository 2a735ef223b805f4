"""Reads a prompt file, `prompts/*.yaml` or a user's own. A prompt file holds:

version           a number or a text
system, user      Jinja2 templates (sandboxed); gr2/prompts/render.py says what they see
answer            the JSON schema of the answer, `{"explanation": str, "recommendations": [semantic ID, ...]}`; without
                  `explanation` the prompt asks for the ranking alone. `explanation` may have a `pattern`, a regular
                  expression to decode the explanation under, which is a template too (its filter `regex` escapes text)
max_history       optional: show the latest N items of the history, 50
title_tokens      optional: cut titles to their first N tokens
shows_target      optional: true if the templates show `target`, the relevant item
domain            optional: who the model is, what users do, and knowledge to prime it with; another file can replace it
"""

import re
from dataclasses import dataclass
from pathlib import Path

import jinja2.sandbox

from gr2.errors import InputError
from gr2.files.shipped import shipped
from gr2.files.yaml import read_yaml

PROMPTS = shipped("prompts")
DOMAINS = PROMPTS / "domains"
REQUIRED = {"version", "system", "user", "answer"}
OPTIONAL = {"max_history": 50, "title_tokens": None, "shows_target": False, "domain": None}
DOMAIN_FIELDS = {"expert", "chose", "choose", "priming"}


class Environment(jinja2.sandbox.SandboxedEnvironment):
    """Looks `item.sid` up in a mapping at once, where Jinja2 raises and catches an AttributeError first; says what a
    mapping has where a template shows something else.
    """

    def getattr(self, value: object, name: str) -> object:
        if type(value) is dict and name in value:
            return value[name]
        found = super().getattr(value, name)
        if type(value) is dict and isinstance(found, jinja2.Undefined):
            return self.undefined(f"it shows '{name}': expected one of {', '.join(value)}")
        return found


@dataclass(frozen=True)
class Prompt:
    """One prompt file: two templates and the schema of the answer."""

    name: str
    version: int | str
    system: jinja2.Template
    user: jinja2.Template
    pattern: jinja2.Template | None
    answer: dict
    max_history: int
    title_tokens: int | None
    shows_target: bool
    domain: dict[str, str]
    priming: str  # empty if it is switched off, or the prompt has none

    @property
    def has_trace(self) -> bool:
        return "explanation" in self.answer["properties"]

    @property
    def label(self) -> dict:
        """What to write beside an output that the prompt was used for."""
        label = {"name": self.name, "version": self.version}
        return label | {"domain": self.domain.get("name"), "priming": bool(self.priming)}


def load_prompt(prompt: str | Path, domain: str | Path | None = None, priming: bool = True) -> Prompt:
    """Reads a prompt file; InputError if a field is missing, unknown, of the wrong type or not a valid template.

    prompt: a file, or the name of one that comes with gr2. domain: likewise, in place of the prompt's own. priming:
    False leaves out GR2's knowledge priming (2602.07774 ablates it).
    """
    path = find_file(prompt, PROMPTS)
    values = OPTIONAL | read_yaml(path)
    if set(values) != REQUIRED | set(OPTIONAL):
        found = ", ".join(name for name in values if name not in OPTIONAL)
        expected = f"{', '.join(sorted(REQUIRED))}, optional {', '.join(OPTIONAL)}"
        raise InputError(f"{path}: expected the fields {expected}, found {found}")
    _check_types(path, values)
    words = {} if values["domain"] is None else _check_domain(path, values["domain"]) | {"name": "general"}
    if domain is not None:
        if not words:
            raise InputError(f"--domain {domain}: {path} has no domain that it could replace")
        file = find_file(domain, DOMAINS)
        words = _check_domain(file, read_yaml(file)) | {"name": file.stem}
    strict = {"undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(**strict)
    environment.filters["regex"] = re.escape
    pattern = values["answer"]["properties"].get("explanation", {}).get("pattern")
    try:
        return Prompt(
            name=path.stem,
            version=values["version"],
            system=environment.from_string(values["system"].strip()),
            user=environment.from_string(values["user"].strip()),
            pattern=environment.from_string(pattern) if pattern else None,
            answer=values["answer"],
            max_history=values["max_history"],
            title_tokens=values["title_tokens"],
            shows_target=values["shows_target"],
            domain=words,
            priming=words.get("priming", "") if priming else "",
        )
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{path}: not a Jinja2 template, line {error.lineno}: {error.message}") from None


def prompt_file(name_or_path: str) -> str:
    """`student` -> the path of the prompt, or domain, of that name that comes with gr2; else returned unchanged."""
    for folder in (PROMPTS, DOMAINS):
        file = folder / f"{name_or_path}.yaml"
        if "/" not in name_or_path and file.is_file():
            return str(file)
    return name_or_path


def find_file(name_or_path: str | Path, folder: Path) -> Path:
    """The file that is named, or the one of that name in `folder`; InputError where there is neither."""
    path = Path(prompt_file(str(name_or_path)))
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise InputError(f"{path}: no such file; expected one, or a name of {names}")
    return path


def _check_types(path: Path, values: dict) -> None:
    """YAML reads `12:30` or `yes` as something other than text."""
    for name in ("system", "user"):
        if not isinstance(values[name], str):
            raise InputError(f"{path}: {name}: expected a text, found {values[name]!r}")
    if not isinstance(values["version"], str | int) or isinstance(values["version"], bool):
        raise InputError(f"{path}: version: expected a number or a text, found {values['version']!r}")
    for name in ("max_history", "title_tokens"):
        value = values[name]
        if (type(value) is not int or value < 1) and (value is not None or name == "max_history"):
            raise InputError(f"{path}: {name}: expected a whole number of at least 1, found {value!r}")
    if not isinstance(values["shows_target"], bool):
        raise InputError(f"{path}: shows_target: expected true or false, found {values['shows_target']!r}")
    answer = values["answer"]
    properties = answer.get("properties") if isinstance(answer, dict) else None
    if not isinstance(properties, dict) or "recommendations" not in properties:
        raise InputError(f"{path}: answer.properties: expected 'recommendations'")
    for name, value in properties.items():
        if name not in ("explanation", "recommendations") or not isinstance(value, dict):
            expected = "explanation and recommendations, each a mapping"
            raise InputError(f"{path}: answer.properties: expected {expected}, found {name}: {value!r}")
    if not isinstance(properties.get("explanation", {}).get("pattern", ""), str):
        raise InputError(f"{path}: answer.properties.explanation.pattern: expected a text")


def _check_domain(path: Path, values: object) -> dict[str, str]:
    """The values, if they are a domain's texts."""
    names = set(values) if isinstance(values, dict) else set()
    if names != DOMAIN_FIELDS or not all(isinstance(text, str) for text in values.values()):
        expected, found = ", ".join(sorted(DOMAIN_FIELDS)), ", ".join(sorted(names)) or "none"
        raise InputError(f"{path}: expected a domain with the texts {expected}, found {found}")
    return values
