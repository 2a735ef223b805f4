"""YAML file + command line -> the dataclass of a stage. The command line wins; an unknown key is an error.

YAML values are turned into command-line words before parsing, so both are checked by the same types. Options can be
read without the dataclass, and so without its heavy imports: that is all `gr2 run` needs to skip a finished stage.
"""

import argparse
import copy
import dataclasses
import difflib
import json
import math
from pathlib import Path
from typing import Any

from gr2.errors import InputError


def arg(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    path: bool = False,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field that is an option; without a default it is required; a list default is copied.

    path: the value names an input file or folder (`name=file` in a list, too): the manifest records its sha256, and
    `gr2 run` runs the stage again when it changed. least, above, most, below: the range of a number, or of every number
    in a list.
    """
    limits = {"least": least, "above": above, "most": most, "below": below}
    metadata = {"help": help, "path": path, "limits": {name: x for name, x in limits.items() if x is not None}}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: default.copy(), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def read_options(words: list[str]) -> dict[str, list[str]]:
    """`--config FILE --key value ...` -> option: its words, the file's options first, the command line's over them."""
    file, words = config_file(words)
    options = mapping_options(read_yaml(file)) if file else {}
    key = None
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            key = name.replace("-", "_")
            options[key] = [value] if value else []
        elif key is None:
            raise InputError(f"'{word}': expected options, --key value")
        else:
            options[key].append(word)
    return options


def config_file(words: list[str]) -> tuple[Path | None, list[str]]:
    """The file of `--config FILE` or `--config=FILE`, if any, and the other words."""
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    if "--config" not in words:
        return None, words
    at = words.index("--config")
    if at + 1 == len(words):
        raise InputError("--config: expected a file name after it")
    return Path(words[at + 1]), words[:at] + words[at + 2 :]


def mapping_options(values: dict) -> dict[str, list[str]]:
    """A YAML mapping as options; null leaves the default."""

    def word(value: Any) -> str:
        return json.dumps(value) if isinstance(value, dict) else str(value)

    return {
        str(key): [word(entry) for entry in value] if isinstance(value, list) else [word(value)]
        for key, value in values.items()
        if value is not None
    }


def parse(stage: str, config_class: type, options: dict[str, list[str]], source: Path | None = None) -> Any:
    """An instance of a stage's dataclass; InputError on an unknown or missing option or a value of the wrong type.

    `source` is the file to name where a key is unknown.
    """
    from transformers import HfArgumentParser  # 0.6 s

    class Parser(HfArgumentParser):
        @staticmethod
        def _parse_dataclass_field(parser: argparse.ArgumentParser, field: dataclasses.Field) -> None:
            field = copy.copy(field)  # argparse would take our metadata for arguments of its own
            field.metadata = {key: value for key, value in field.metadata.items() if key not in ("path", "limits")}
            HfArgumentParser._parse_dataclass_field(parser, field)

    names = [field.name for field in dataclasses.fields(config_class) if field.init]
    for key in options:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"{stage}: unknown key '{key}'{hint}" + (f" ({source} or command line)" if source else ""))
    required = {field.name for field in dataclasses.fields(config_class) if field.init and is_required(field)}
    for key in sorted(required | {"output_dir"}):
        if key not in options:
            raise InputError(f"{stage}: --{key} is required")
    parser = Parser(config_class, allow_abbrev=False, exit_on_error=False)
    words = [word for key, values in options.items() for word in (f"--{key}", *values)]
    try:
        values = vars(parser.parse_known_args(words)[0])
        for field in dataclasses.fields(config_class):
            if "limits" in field.metadata and field.init:
                check_range(field.name, values[field.name], field.metadata["limits"])
        (config,) = parser.parse_args_into_dataclasses(words)
    except InputError:
        raise
    except (argparse.ArgumentError, ValueError) as error:
        raise InputError(f"{stage}: {error}") from None
    return config


def check_range(name: str, value: Any, limits: dict[str, float]) -> None:
    """InputError unless every number in `value` lies within `limits` (see `arg`).

    NaN never does; infinity does only where `most=math.inf`.
    """
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        inside = {
            "least": lambda limit, x=number: x >= limit,
            "above": lambda limit, x=number: x > limit,
            "most": lambda limit, x=number: x <= limit,
            "below": lambda limit, x=number: x < limit,
        }
        odd = math.isnan(number) or (math.isinf(number) and limits.get("most") != math.inf)
        if odd or not all(inside[kind](limit) for kind, limit in limits.items()):
            raise InputError(f"--{name} {number}: expected a number" + describe_range(limits))


def describe_range(limits: dict[str, float]) -> str:
    """{"least": 0, "below": 1} -> " of at least 0 and below 1"."""
    limits = {kind: limit for kind, limit in limits.items() if limit != math.inf}
    words = {"least": "of at least", "above": "above", "most": "of at most", "below": "below"}
    return " and".join(f" {words[kind]} {limit}" for kind, limit in limits.items())


def describe_options(stage: str, config_class: type, about: str) -> str:
    """The help text of a stage: its own options. Those it takes over from a library's argument class are only named."""
    ours = [cls for cls in config_class.__mro__ if cls is config_class or cls.__module__.startswith("gr2.")]
    named = {field.name: field for field in dataclasses.fields(config_class)}
    own = [named[name] for cls in ours for name in cls.__annotations__]
    lines = [f"usage: gr2 {stage} [--config FILE] [--key value ...]", "", about.strip(), ""]
    lines += ["YAML keys of FILE are the options below; the command line wins.", ""]
    for field in own:
        value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        default = "required" if is_required(field) else f"default {value}" if value is not None else "optional"
        lines.append(f"  --{field.name:20} {field.metadata.get('help', '')} ({default})")
    parent = config_class.__mro__[len(ours)]
    if dataclasses.is_dataclass(parent):
        lines += ["", f"and every option of {parent.__module__.split('.')[0]}.{parent.__name__}: output_dir, learning_rate,",
                  "per_device_train_batch_size, max_steps, save_steps, ... (its documentation lists them)."]  # fmt: skip
    return "\n".join(lines)


def is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def read_yaml(path: Path) -> dict:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected YAML, but {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a YAML mapping of option: value")
    return values
