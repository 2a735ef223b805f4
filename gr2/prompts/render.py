"""What a model sees of a slate: a prompt's templates, filled in. Its answer is read by gr2/prompts/answer.py.

The templates see
history, candidates    lists of items: `sid`, `title`, `category`; candidates also have `facts` (gr2/data/features.py)
categories             of the history, most frequent first
target                 the relevant item; in prompts that declare `shows_target: true`
domain, priming        `domain.expert`, `.chose`, `.choose`, and a text that is empty if priming is off
"""

from collections import Counter

import jinja2
import polars as pl

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.prompts.prompt import Prompt

NO_FACTS = "it shows facts of the candidates, and slates.parquet has none; `gr2 facts` adds them"


class MissingFact(jinja2.StrictUndefined):
    __index__ = jinja2.StrictUndefined.__str__  # `letters[item.facts.score]` fails with the same sentence


class NoFacts(dict):
    """The facts of a candidate that has none: empty, and whatever a template takes from it is undefined."""

    def __missing__(self, name: str) -> MissingFact:
        return MissingFact(NO_FACTS)


def render(prompt: Prompt, slate: Slate, catalogue: Catalogue, target: str | None = None) -> list[dict[str, str]]:
    """A slate's chat messages. `target`, an item id, is used by prompts with `shows_target`."""
    values = template_values(prompt, slate, catalogue, target)
    roles = {"system": prompt.system, "user": prompt.user}
    return [{"role": role, "content": fill(template, values, prompt.name)} for role, template in roles.items()]


def needs_facts(prompt: Prompt) -> bool:
    """Whether the prompt cannot show slates without facts."""
    text = {"item": "text"}
    catalogue = Catalogue(pl.Series(["item"]), title=text, category=text, description=text, sid=text, codes={})
    try:
        render(prompt, Slate("slate", ["item"], ["item"]), catalogue)
    except InputError as error:
        return NO_FACTS in str(error)
    return False


def shown_items(prompt: Prompt, slate: Slate) -> list[str]:
    """The items that the prompt shows, each once: the latest of the history, and the candidates."""
    return list(dict.fromkeys([*slate.with_latest(prompt.max_history).history, *slate.candidates]))


def template_values(prompt: Prompt, slate: Slate, catalogue: Catalogue, target: str | None = None) -> dict:
    """What the templates see."""

    def describe(item_id: str) -> dict[str, str]:
        return {
            "sid": catalogue.sid[item_id],
            "title": catalogue.title[item_id],
            "category": catalogue.category[item_id],
        }

    history = [describe(item_id) for item_id in slate.with_latest(prompt.max_history).history]
    all_facts = slate.facts or [NoFacts()] * len(slate.candidates)
    pairs = zip(slate.candidates, all_facts, strict=True)
    categories = Counter(category for item in history for category in item["category"].split(" > ") if category)
    values = {
        "history": history,
        "candidates": [describe(item_id) | {"facts": facts} for item_id, facts in pairs],
        "categories": [category for category, _ in categories.most_common()],
        "domain": prompt.domain,
        "priming": prompt.priming,
    }
    if prompt.shows_target:
        values["target"] = describe(target) if target else None
    return values


def fill(template: jinja2.Template, values: dict, name: str) -> str:
    """The text of a prompt's template; InputError, with the prompt's name, for whatever goes wrong in it."""
    try:
        return template.render(values)
    except Exception as error:  # an unknown name, a target that is None, or whatever else a template may compute
        raise InputError(f"prompt {name}: {error}") from None
