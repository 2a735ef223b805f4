"""Uniqueness in a list of more choices than a grammar can count: what is still unused, read from the answer as it is written."""

import json
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from gr2.samplers.grammar import MOST_CHOICES


class NoRepeats:
    """Follows an answer up to its list `name` and through it. `choices` are texts without quotes.

    There are no dead ends: a text that is admitted is the start of a choice that has not been written yet.
    """

    def __init__(self, name: str, choices: Iterable[str]):
        self.key, self.mark = json.dumps(name), json.dumps(name) + ": ["
        self.unused = set(choices)
        self.starts = Counter(choice[:length] for choice in self.unused for length in range(len(choice) + 1))
        self.head = ""  # what was written before the list
        self.opened = False
        self.partial: str | None = None  # the start of the choice that is being written

    def watches(self) -> bool:
        """Whether what comes next may belong to the list."""
        return self.opened or self.key in self.head

    def write(self, text: str) -> None:
        """The answer goes on with `text`, which has been admitted."""
        self.partial, used = self._read(text)
        for choice in used:
            self.unused.remove(choice)
            self.starts.subtract(choice[:length] for length in range(len(choice) + 1))
        if not self.opened:
            self.head += text
            self.opened = self.mark in self.head

    def admits(self, text: str) -> bool:
        """Whether the answer can go on with `text` without writing a choice a second time."""
        partial, used = self._read(text)
        if len(set(used)) < len(used) or not self.unused.issuperset(used):
            return False
        return partial is None or self.starts[partial] > sum(choice.startswith(partial) for choice in used)

    def _read(self, text: str) -> tuple[str | None, list[str]]:
        """(start of an unfinished choice or None, the choices that `text` finishes)."""
        if not self.opened:
            text = (self.head + text).partition(self.mark)[2]
        partial, used = self.partial, []
        for char in text:
            if partial is None:
                partial = "" if char == '"' else None
            elif char == '"':
                used.append(partial)
                partial = None
            else:
                partial += char
        return partial, used


def watched(schema: dict) -> list[NoRepeats]:
    """One for each list of the schema whose uniqueness its grammar leaves open."""
    lists = {name: value for name, value in schema["properties"].items() if value.get("uniqueItems")}
    return [
        NoRepeats(name, value["items"]["enum"])
        for name, value in lists.items()
        if len(value["items"]["enum"]) > MOST_CHOICES
    ]


def repeats(lists: list[NoRepeats], tokens: np.ndarray, text_of: Callable[[int], str]) -> list[int]:
    """Those of the admitted `tokens` [n] that would repeat a choice."""
    watching = [one for one in lists if one.watches()]
    return (
        [token for token in tokens.tolist() if not all(one.admits(text_of(token)) for one in watching)]
        if watching
        else []
    )
