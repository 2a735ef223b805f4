"""Words -> the dataclass of a command. Unknown options and values of a wrong type or range are errors."""

import dataclasses
import typing
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gr2.errors import InputError, did_you_mean
from gr2.options.declare import check_range, is_required, limits_of
from gr2.options.values import read_value


@dataclass(frozen=True)
class Expectation:
    """What words are checked against: an option's type (None where it is not known yet) and its range."""

    kind: Any = None
    required: bool = False
    limits: dict[str, float] = dataclasses.field(default_factory=dict)  # as `gr2.options.declare.limits_of`


def parse(stage: str, config_class: type, options: dict[str, list[str]], source: Path | None = None) -> Any:
    """An instance of a stage's dataclass; InputError on an unknown or missing option or a value of the wrong type.

    `source` is the file to name where a key is unknown.
    """
    kinds = typing.get_type_hints(config_class)
    fields = [field for field in dataclasses.fields(config_class) if field.init]
    declared = {
        field.name: Expectation(kinds[field.name], is_required(field), limits_of(config_class, field))
        for field in fields
    }
    values = read_values(stage, declared, options, source)
    try:
        return config_class(**values)
    except InputError:
        raise
    except (ValueError, TypeError, ArithmeticError, ImportError, OSError) as error:  # of the libraries' own checks
        raise InputError(f"{stage}: {' '.join(str(error).split())}") from None


def read_values(
    stage: str, declared: dict[str, Expectation], options: dict[str, list[str]], source: Path | None = None
) -> dict[str, Any]:
    """The values of the options, but of those whose type is not known; InputError as of `parse`."""
    refuse_unknown(stage, options, declared, f" ({source} or command line)" if source else "")
    required = {name for name, option in declared.items() if option.required}
    missing = [f"--{key}" for key in sorted(required | {"output_dir"}) if key not in options]
    if missing:
        raise InputError(f"{stage}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} required")
    values = {}
    for name, words in options.items():
        if declared[name].kind is None:
            continue
        try:
            values[name] = read_value(words, declared[name].kind)
        except ValueError as error:
            found = f"--{name} {' '.join(words)}".rstrip()
            raise InputError(f"{stage}: {found}: expected {error}") from None
        check_range(name, values[name], declared[name].limits)
    return values


def refuse_unknown(stage: str, keys: Iterable[str], known: Collection[str], where: str = "") -> None:
    for key in keys:
        if key not in known:
            raise InputError(f"{stage}: unknown key '{key}'{did_you_mean(key, known)}{where}")
