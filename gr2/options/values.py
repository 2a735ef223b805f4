"""Words -> a value of an option's type."""

import types
import typing
from enum import Enum
from typing import Any

TRUE, FALSE = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")


def read_value(words: list[str], kind: Any) -> Any:
    """The value of the type `kind` that the words stand for. ValueError says what was expected.

    A list takes one word or more, true needs none, and every other type takes one. Of a union, the first type counts
    that can read the word, text last. A mapping stays JSON text: transformers reads it.
    """
    kinds = members(kind)
    listed = [typing.get_args(one)[0] for one in kinds if typing.get_origin(one) is list]
    if len(listed) == len(kinds):
        if not words:
            raise ValueError("at least one value")
        return [read_word(word, members(listed[0])) for word in words]
    if bool in kinds and not words:
        return True
    if bool in kinds and str not in kinds and len(words) > 1:
        raise ValueError("true or false")
    if len(words) != 1:
        raise ValueError("one value")
    return read_word(words[0], kinds)


def members(kind: Any) -> list:
    """The types of a union but None, or the one type that is none."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return [one for one in typing.get_args(kind) if one is not types.NoneType] if union else [kind]


def read_word(word: str, kinds: list) -> Any:
    choices = [choice for kind in kinds for choice in choices_of(kind)]
    if choices:
        if word not in choices:
            raise ValueError("one of " + ", ".join(map(str, choices)))
        return word
    if bool in kinds and word.lower() in TRUE + FALSE:
        return word.lower() in TRUE
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(word)
            except (ValueError, OverflowError):
                continue
    if str in kinds or any(typing.get_origin(kind) is dict for kind in kinds):
        return word
    expected = {bool: "true or false", int: "a whole number", float: "a number"}
    raise ValueError(next((text for kind, text in expected.items() if kind in kinds), "no value: it cannot be a text"))


def choices_of(kind: Any) -> list:
    """The texts that a Literal or an Enum of texts admits; none of another type, and of a Literal of other values."""
    if typing.get_origin(kind) is typing.Literal:
        return [value for value in typing.get_args(kind) if isinstance(value, str)]
    return [value.value for value in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []
