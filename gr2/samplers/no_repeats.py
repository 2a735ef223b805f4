"""Unique choices in a list too long for a grammar to count: the unused ones are known from the answer so far."""

import json
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from gr2.samplers.grammar import MOST_CHOICES


class NoRepeats:
    """Follows an answer up to its list `name` and through it. `choices` are texts without quotes.

    There are no dead ends: every admitted text is the start of an unused choice.
    """

    def __init__(self, name: str, choices: Iterable[str]):
        self.key, self.mark = json.dumps(name), json.dumps(name) + ": ["
        self.unused = set(choices)
        self.starts = Counter(choice[:length] for choice in self.unused for length in range(len(choice) + 1))
        self.head = ""  # what was written before the list
        self.opened = False
        self.partial: str | None = None  # the start of the choice that is being written

    def watches(self) -> bool:
        """Whether the next text may belong to the list."""
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


def long_lists(schema: dict) -> list[NoRepeats]:
    """One for each list of the schema that is too long for its grammar to keep unique."""
    lists = {name: value["items"]["enum"] for name, value in schema["properties"].items() if value.get("uniqueItems")}
    return [NoRepeats(name, choices) for name, choices in lists.items() if len(choices) > MOST_CHOICES]


def find_repeats(lists: list[NoRepeats], tokens: np.ndarray, text_of: Callable[[int], str]) -> list[int]:
    """Those of the admitted `tokens` [n] that would repeat a choice."""
    watching = [one for one in lists if one.watches()]
    if not watching:
        return []
    return [token for token in tokens.tolist() if not all(one.admits(text_of(token)) for one in watching)]
