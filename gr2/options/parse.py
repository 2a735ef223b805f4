"""YAML file + command line -> the dataclass of a stage. The command line wins; an unknown key is an error.

YAML values are turned into command-line words before parsing, so both are checked by the same types. Options can be
read without the dataclass, and so without its heavy imports: that is all `gr2 run` needs to skip a finished stage.
"""

import argparse
import copy
import dataclasses
import difflib
import json
import re
from pathlib import Path
from typing import Any

from gr2.errors import InputError
from gr2.files.yaml import read_yaml
from gr2.options.declare import check_range, is_input, is_required, limits_of
from gr2.options.libraries import INPUTS


def read_options(words: list[str]) -> dict[str, list[str]]:
    """`--config FILE --key value ...` -> option: its words, the file's options first, the command line's over them."""
    file, words = config_file(words)
    return (mapping_options(read_yaml(file), file) if file else {}) | read_words(words)


def read_words(words: list[str]) -> dict[str, list[str]]:
    """`--key value value ... --key=value` -> option: its words."""
    options: dict[str, list[str]] = {}
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


def mapping_options(values: dict, source: Path | None = None) -> dict[str, list[str]]:
    """A YAML mapping as options; null leaves the default. `source` is the file to name where a value is none."""

    def word(value: Any) -> str:
        return json.dumps(value) if isinstance(value, dict) else str(value)

    for key, value in values.items():
        if isinstance(value, list) and any(isinstance(entry, list | dict | None) for entry in value):
            place = f"{source}: " if source else ""
            raise InputError(f"{place}'{key}': expected a value or a list of values, found {value!r:.80}")
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
            field.metadata = {key: value for key, value in field.metadata.items() if key == "help"}
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
            if field.init:
                check_range(field.name, values[field.name], limits_of(config_class, field))
        (config,) = parser.parse_args_into_dataclasses(words)
    except InputError:
        raise
    except argparse.ArgumentError as error:
        raise InputError(f"{stage}: {complaint(error, options)}") from None
    except (ValueError, TypeError, ArithmeticError, ImportError, OSError) as error:  # of the libraries' own checks
        raise InputError(f"{stage}: {' '.join(str(error).split())}") from None
    return config


def complaint(error: argparse.ArgumentError, options: dict[str, list[str]]) -> str:
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


def describe_options(stage: str, config_class: type, about: str) -> str:
    """The help text of a stage: its own options. Those it takes over from a library's argument class are only named."""
    ours = [cls for cls in config_class.__mro__ if cls is config_class or cls.__module__.startswith("gr2.")]
    named = {field.name: field for field in dataclasses.fields(config_class)}
    own = [named[name] for cls in ours for name in cls.__annotations__]
    lines = [f"usage: gr2 {stage} [--config FILE] [--key value ...]", "", about.strip(), ""]
    lines += ["YAML keys of FILE are the options below; the command line wins. An input is a file or folder that is read:",
              "its sha256 is recorded, and `gr2 run` runs the stage again when it changed.", ""]  # fmt: skip
    for field in own:
        value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        default = "required" if is_required(field) else f"default {value}" if value is not None else "optional"
        lines.append(f"  --{field.name:20} {field.metadata.get('help', '')} ({'input, ' * is_input(field)}{default})")
    parent = config_class.__mro__[len(ours)]
    if dataclasses.is_dataclass(parent):
        lines += ["", f"and every option of {parent.__module__.split('.')[0]}.{parent.__name__}: output_dir, learning_rate,",
                  "per_device_train_batch_size, max_steps, save_steps, ... (its documentation lists them).",
                  f"Inputs among them: {', '.join(name for name in INPUTS if name in named)}."]  # fmt: skip
    return "\n".join(lines)
