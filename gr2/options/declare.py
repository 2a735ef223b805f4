"""Declares an option: its default, help, range, and whether it names an input."""

import dataclasses
import math
import operator
from typing import Any

from gr2.errors import InputError
from gr2.options.libraries import INPUTS, LIMITS

LARGEST = 2**63 - 1  # whole number that fits into an array
WITHIN = {"least": operator.ge, "above": operator.gt, "most": operator.le, "below": operator.lt}


def arg(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    path: bool | str = False,
    named: bool = False,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field that is an option; without a default it is required; a list default is copied.

    path: the value names an input file or folder (`NAME=FILE` in a list, too): the manifest records its sha256, and
    `gr2 run` runs the stage again when it changed. If `path` is a file name, a stage's id in a recipe stands for its
    file of that name, and one that is left out gets the latest one, unless it is `named` or a list with a default.
    least, above, most, below: the range of a number, or of every number in a list.
    """
    limits = {"least": least, "above": above, "most": most, "below": below}
    limits = {kind: limit for kind, limit in limits.items() if limit is not None}
    metadata = {"help": help, "path": path, "named": named, "limits": limits}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: default.copy(), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def limits_of(config_class: type, field: dataclasses.Field) -> dict[str, float]:
    """The range of a stage's own option where it is declared, else of the one that it takes over from a library."""
    declared = field.metadata.get("limits")
    if declared or field.name in library_options(config_class) or field.name in ("seed", "seeds"):
        return declared or LIMITS.get(field.name, {})
    return {}


def library_options(config_class: type) -> set[str]:
    """The names of the options of the library's class that a stage's extends, if any."""
    library = next(cls for cls in config_class.__mro__[1:] if not cls.__module__.startswith("gr2."))
    return {field.name for field in dataclasses.fields(library)} if dataclasses.is_dataclass(library) else set()


def check_range(name: str, value: Any, limits: dict[str, float]) -> None:
    """InputError unless every number in `value` lies within `limits` (see `arg`).

    NaN never does; infinity does only where `most=math.inf`.
    """
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, bool) or not isinstance(number, int | float) or number == limits.get("also"):
            continue
        odd = math.isnan(number) or (math.isinf(number) and limits.get("most") != math.inf)
        if odd or not all(WITHIN[kind](number, limit) for kind, limit in limits.items() if kind in WITHIN):
            raise InputError(f"--{name} {number}: expected a number" + describe_range(limits))
        if isinstance(number, int) and abs(number) > LARGEST:
            raise InputError(f"--{name} {number}: expected a number of at most {LARGEST:,}")


def describe_range(limits: dict[str, float]) -> str:
    """{"least": 0, "below": 1} -> " of at least 0 and below 1"; {"least": 1, "most": 9} -> " from 1 to 9"."""
    limits = {kind: limit for kind, limit in limits.items() if limit != math.inf}
    also = f", or {limits.pop('also')}" if "also" in limits else ""
    if limits.keys() == {"least", "most"}:
        return f" from {limits['least']:,} to {limits['most']:,}{also}"
    words = {"least": "of at least", "above": "above", "most": "of at most", "below": "below"}
    return " and".join(f" {words[kind]} {limit}" for kind, limit in limits.items()) + also


def is_input(field: dataclasses.Field) -> bool:
    """Whether the option's value may name a file or folder that the stage reads."""
    return bool(field.metadata.get("path")) or field.name in INPUTS


def is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
