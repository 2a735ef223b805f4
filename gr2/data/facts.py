"""A candidate's facts: its features in ten levels, as prompts show them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gr2.data.features import NAMES, Features
from gr2.errors import InputError
from gr2.files.artifacts import read_json, write_json
from gr2.files.slates import Slate

LEVELS = 10
FILE = "levels.json"  # of `gr2 facts`


def find_bounds(values: np.ndarray) -> np.ndarray:
    """A feature of the train slates' candidates, float [n] -> the deciles between its levels, float [9]."""
    return np.quantile(values, np.arange(1, LEVELS) / LEVELS)


def find_levels(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The number of bounds below each value, int8 [n]: where most candidates have 0 of something, that is level 0."""
    return np.searchsorted(bounds, values, side="left").astype(np.int8)


def write_levels(path: str | Path, ranked: bool, bounds: dict[str, np.ndarray]) -> None:
    """ranked: whether the rank in the input order is a fact, too."""
    write_json(path, {"rank": ranked, "bounds": {name: values.tolist() for name, values in bounds.items()}})


class Facts:
    """Adds facts to slates that have none, by the levels of a levels.json, as `gr2 facts` would have added them."""

    def __init__(self, path: str | Path, features: Features):
        """InputError for a file that `gr2 facts` did not write."""
        found = read_json(path)
        self.features = features
        try:
            self.ranked = bool(found["rank"])
            self.bounds = {
                name: np.array(values, float).reshape(LEVELS - 1) for name, values in found["bounds"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InputError(f"{path}: expected `rank` and `bounds` of features, as `gr2 facts` writes them") from None

    def add(self, slates: Sequence[Slate]) -> list[Slate]:
        """InputError where a slate lacks an item that the features know."""
        return [slate if slate.facts else replace(slate, facts=self.describe(slate)) for slate in slates]

    def describe(self, slate: Slate) -> list[dict[str, int]]:
        """A mapping per candidate; facts of a pre-ranker only where the slate has it among its `sources`."""
        known = slate.sources[0] if slate.sources else {}
        names = [name for name in self.bounds if name in NAMES or name.partition("_")[2] in known]
        (table,) = self.features.compute([slate], names)
        levels = {name: find_levels(values, self.bounds[name]) for name, values in zip(names, table.T, strict=True)}
        if self.ranked:
            levels = {"rank": np.arange(1, len(slate.candidates) + 1)} | levels
        return [{name: int(level[at]) for name, level in levels.items()} for at in range(len(slate.candidates))]
