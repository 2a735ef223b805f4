"""The grammar of an answer that is a permutation of its slate by construction, in llguidance's language.

One grammar serves two engines: vLLM takes it as a structured-output setting, transformers' `generate` through
`GrammarProcessor`. The model still orders the list by its own probabilities; it can only not write anything else.
"""

import json

from gr2.semantic_ids.tokens import BEGIN, END, LETTERS, TOKEN, code_token

MOST_CHOICES = 64  # a rule of an llguidance grammar carries 64 bits


def permutation_grammar(schema: dict, vocabulary: dict[str, int]) -> str:
    """An llguidance grammar for an object schema, in which an array with `uniqueItems` is a permutation of its enum.

    A grammar rule may carry a bit set (llguidance, docs/parametric.md): here, the choices already written. Semantic IDs
    are written in their own tokens where `vocabulary` (added token -> id) has them, which strings of a plain JSON
    schema may not hold, and as text elsewhere.
    """
    fields, rules = [], []
    for name, value in schema["properties"].items():
        key = json.dumps(json.dumps(name) + ": ")
        if not value.get("uniqueItems"):
            fields.append(f"{key} {name}")
            rules += (
                free_text(name, vocabulary) if value == {"type": "string"} else [f"{name}: %json {json.dumps(value)}"]
            )
            continue
        fields.append(f'{key} "[" {name} "]"')
        choices = [json.dumps(choice) for choice in value["items"]["enum"]]
        first = [f"{spelled(choice, vocabulary)} {name}_rest::{1 << bit:#x}" for bit, choice in enumerate(choices)]
        later = [
            f"{spelled(', ' + choice, vocabulary)} {name}_rest::set_bit({bit}) %if bit_clear({bit})"
            for bit, choice in enumerate(choices)
        ]
        done = f'"" %if is_ones([0:{len(choices)}])'
        rules += [f"{name}: " + " | ".join(first), f"{name}_rest::_: " + " | ".join([done, *later])]
    return "\n".join(['start: "{" ' + ' ", " '.join(fields) + ' "}"', *rules])


def free_text(name: str, vocabulary: dict[str, int]) -> list[str]:
    """Rules for a JSON string of any text, with well-formed semantic IDs in it where the vocabulary has their tokens."""
    levels = [[vocabulary[token] for code in range(len(vocabulary)) if (token := code_token(level, code)) in vocabulary]
              for level in range(len(LETTERS))]  # fmt: skip
    levels = [f"<[{min(ids)}-{max(ids)}]>" for ids in levels if ids]
    if not levels:
        return [f'{name}: %json {{"type": "string"}}']
    return [
        f'{name}: "\\"" (TEXT | sid)+ "\\""',
        r'TEXT: /([^"\\\x00-\x1f]|\\["\\\/bfnrt])+/',
        f"sid: {BEGIN} {' '.join(levels)} {END}",
    ]


def spelled(text: str, vocabulary: dict[str, int]) -> str:
    """Text as grammar symbols: the tokens of semantic IDs by name where they are tokens, quoted text for the rest."""
    pieces = TOKEN.split(text) if all(token in vocabulary for token in TOKEN.findall(text)) else [text]
    return " ".join(piece if piece in vocabulary else json.dumps(piece) for piece in pieces if piece)


def without_unique_items(schema: dict) -> dict:
    """The schema for the engines that refuse `uniqueItems`; they may then repeat an item."""
    properties = schema["properties"].items()
    relaxed = {name: {k: v for k, v in value.items() if k != "uniqueItems"} for name, value in properties}
    return schema | {"properties": relaxed}


def has_grammar(schema: dict) -> bool:
    """Whether `permutation_grammar` can hold the schema; a longer list is decoded as plain JSON, without uniqueness."""
    lists = [value for value in schema["properties"].values() if value.get("uniqueItems")]
    return bool(lists) and all(len(value["items"]["enum"]) <= MOST_CHOICES for value in lists)
