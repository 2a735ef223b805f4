"""Words -> the dataclass of a command. Unknown options and values of a wrong type or range are errors."""

import argparse
import copy
import dataclasses
import difflib
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from gr2.errors import InputError
from gr2.options.declare import check_range, is_required, limits_of


def parse(stage: str, config_class: type, options: dict[str, list[str]], source: Path | None = None) -> Any:
    """An instance of a stage's dataclass; InputError on an unknown or missing option or a value of the wrong type.

    `source` is the file to name where a key is unknown.
    """
    from transformers import HfArgumentParser  # 0.6 s

    class Parser(HfArgumentParser):
        @staticmethod
        def _parse_dataclass_field(parser: argparse.ArgumentParser, field: dataclasses.Field) -> None:
            field = copy.copy(field)  # argparse would take our metadata for arguments of its own
            field.metadata = {key: value for key, value in field.metadata.items() if key == "help"}
            HfArgumentParser._parse_dataclass_field(parser, field)

    names = [field.name for field in dataclasses.fields(config_class) if field.init]
    refuse_unknown(stage, options, names, f" ({source} or command line)" if source else "")
    required = {field.name for field in dataclasses.fields(config_class) if field.init and is_required(field)}
    for key in sorted(required | {"output_dir"}):
        if key not in options:
            raise InputError(f"{stage}: --{key} is required")
    parser = Parser(config_class, allow_abbrev=False, exit_on_error=False)
    words = [word for key, values in options.items() for word in (f"--{key}", *values)]
    try:
        values = vars(parser.parse_known_args(words)[0])
        for field in dataclasses.fields(config_class):
            if field.init:
                check_range(field.name, values[field.name], limits_of(config_class, field))
        (config,) = parser.parse_args_into_dataclasses(words)
    except InputError:
        raise
    except argparse.ArgumentError as error:
        raise InputError(f"{stage}: {explain(error, options)}") from None
    except (ValueError, TypeError, ArithmeticError, ImportError, OSError) as error:  # of the libraries' own checks
        raise InputError(f"{stage}: {' '.join(str(error).split())}") from None
    return config


def refuse_unknown(stage: str, keys: Iterable[str], known: Collection[str], where: str = "") -> None:
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise InputError(f"{stage}: unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else "") + where)


def explain(error: argparse.ArgumentError, options: dict[str, list[str]]) -> str:
    """What argparse found wrong, as `--option value: expected ...`."""
    name = (error.argument_name or "").split("/")[0].lstrip("-")
    words = " ".join(options.get(name, []))
    kind, choices = re.match(r"invalid (\w+) value", error.message), re.search(r"\(choose from (.*)\)", error.message)
    if kind:
        expected = {"int": "a whole number", "float": "a number"}.get(kind[1], f"a value of the type {kind[1]}")
    elif choices:
        expected = "one of " + choices[1].replace("'", "")
    elif error.message.startswith("Truthy value expected"):
        expected = "true or false"
    elif error.message.startswith("expected"):
        expected = error.message.removeprefix("expected ").replace("argument", "value")
    else:
        return str(error)
    return f"--{name} {words}".rstrip() + f": expected {expected}"
