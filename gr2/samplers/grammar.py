"""Grammars of answers, in llguidance's language: of a whole one for vLLM, of its explanation where choices follow.

A whole answer is a permutation of its slate by construction: the model orders the list by its own probabilities, but
can write nothing else.
"""

import json

from gr2.choices.spelling import LIST, OPENING
from gr2.files.sid_tokens import BEGIN, TOKEN

MOST_CHOICES = 64  # a rule of an llguidance grammar carries 64 bits


def permutation_grammar(schema: dict, vocabulary: dict[str, int]) -> str:
    """An llguidance grammar for an object schema with two keywords that no engine knows.

    An array with `uniqueItems` is a permutation of its enum: a grammar rule may carry a bit set (llguidance,
    docs/parametric.md), here of the choices already written, MOST_CHOICES at most. A string with `cites` is any text in
    which only those semantic IDs occur. IDs are written in their tokens where `vocabulary` (added token -> id) has
    them, else as text.
    """
    fields, rules = [], []
    for name, value in schema["properties"].items():
        key = json.dumps(json.dumps(name) + ": ")
        if not value.get("uniqueItems"):
            fields.append(f"{key} {name}")
            rules += free_text(name, value, vocabulary)
            continue
        fields.append(f'{key} "[" {name} "]"')
        choices = [json.dumps(choice) for choice in value["items"]["enum"]]
        first = [f"{spell(choice, vocabulary)} {name}_rest::{1 << bit:#x}" for bit, choice in enumerate(choices)]
        rest = [f'"" %if is_ones([0:{len(choices)}])']
        for bit, choice in enumerate(choices):
            rest.append(f"{spell(', ' + choice, vocabulary)} {name}_rest::set_bit({bit}) %if bit_clear({bit})")
        rules += [f"{name}: " + " | ".join(first), f"{name}_rest::_: " + " | ".join(rest)]
    return "\n".join(['start: "{" ' + ' ", " '.join(fields) + ' "}"', *rules])


def explanation_grammar(schema: dict, vocabulary: dict[str, int]) -> str:
    """The grammar of an answer up to its list's first item: `{"explanation": "...", "recommendations": ["`."""
    (name,) = [name for name in schema["properties"] if name != LIST]
    key, opening = json.dumps(json.dumps(name) + ": "), json.dumps(f', {OPENING}"')
    rules = free_text(name, schema["properties"][name], vocabulary)
    return "\n".join([f'start: "{{" {key} {name} {opening}', *rules])


def free_text(name: str, value: dict, vocabulary: dict[str, int]) -> list[str]:
    """The rules of a property that is no permutation; strings of a plain JSON schema may not hold the tokens of IDs."""
    if BEGIN not in vocabulary or "cites" not in value:
        return [f"{name}: %json {json.dumps({key: kept for key, kept in value.items() if key != 'cites'})}"]
    return [
        f'{name}: "\\"" (TEXT | cited)+ "\\""',
        r'TEXT: /([^"\\\x00-\x1f]|\\["\\\/bfnrt])+/',
        "cited: " + " | ".join(spell(sid, vocabulary) for sid in value["cites"]),
    ]


def spell(text: str, vocabulary: dict[str, int]) -> str:
    """Text as grammar symbols: the tokens of semantic IDs by name where they are tokens, quoted text for the rest."""
    pieces = TOKEN.split(text) if all(token in vocabulary for token in TOKEN.findall(text)) else [text]
    return " ".join(piece if piece in vocabulary else json.dumps(piece) for piece in pieces if piece)


def plain_json(schema: dict) -> dict:
    """The schema without our two keywords, for engines that know plain JSON schemas: an item may then be repeated."""

    def relax(value: dict) -> dict:
        return {key: kept for key, kept in value.items() if key not in ("uniqueItems", "cites")}

    return schema | {"properties": {name: relax(value) for name, value in schema["properties"].items()}}


def has_grammar(schema: dict) -> bool:
    """Whether the schema needs `permutation_grammar`; a plain one is left to the engine's own JSON schemas."""
    return any(value.get("uniqueItems") for value in schema["properties"].values())


def sids_of(schema: dict) -> list[str]:
    """The semantic IDs that a schema's list orders."""
    return schema["properties"][LIST]["items"]["enum"]
