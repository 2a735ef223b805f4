"""YAML file + command line -> the dataclass of a stage. The command line wins; an unknown key is an error.

YAML values are turned into command-line words before parsing, so both are checked by the same types.
"""

import dataclasses
import difflib
import json
from pathlib import Path
from typing import Any

from gr2.errors import InputError


def arg(default: Any = dataclasses.MISSING, help: str = "") -> Any:
    """A dataclass field with a help text; without a default it is required; a list default is copied."""
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: default.copy(), metadata={"help": help})
    return dataclasses.field(default=default, metadata={"help": help})


def parse(stage: str, config_class: type, words: list[str], about: str) -> Any:
    """Parses `--config FILE --key value ...` into an instance of `config_class`.

    Raises InputError for an unreadable file or an unknown key; argparse itself exits with 2 on a value of the
    wrong type.
    """
    from transformers import HfArgumentParser  # 0.6 s

    parser = HfArgumentParser(config_class, prog=f"gr2 {stage}", description=about, allow_abbrev=False)
    parser.add_argument("--config", help="YAML file whose keys are the options below; the command line wins")
    words = list(words)
    from_file: list[str] = []
    if "--config" in words:
        at = words.index("--config")
        if at + 1 == len(words):
            raise InputError("--config: expected a file name after it")
        from_file = yaml_words(Path(words[at + 1]), config_class)
        del words[at : at + 2]
    config, *_, unknown = parser.parse_args_into_dataclasses(from_file + words, return_remaining_strings=True)
    if unknown:
        raise InputError(_unknown(unknown[0].lstrip("-"), "the command line", config_class))
    return config


def yaml_words(path: Path, config_class: type) -> list[str]:
    """The keys of a YAML file as command-line words; InputError on an unknown key."""
    return mapping_words(read_yaml(path), str(path), config_class)


def mapping_words(values: dict, where: str, config_class: type) -> list[str]:
    names = {field.name for field in dataclasses.fields(config_class) if field.init}
    words: list[str] = []
    for key, value in values.items():
        if key not in names:
            raise InputError(_unknown(key, where, config_class))
        if value is None:
            continue
        words.append(f"--{key}")
        if isinstance(value, list):
            words.extend(str(entry) for entry in value)
        else:
            words.append(json.dumps(value) if isinstance(value, dict) else str(value))
    return words


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


def _unknown(key: str, where: str, config_class: type) -> str:
    names = [field.name for field in dataclasses.fields(config_class)]
    near = difflib.get_close_matches(str(key), names, n=1)
    return f"{where}: unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else "")
