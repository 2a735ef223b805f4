"""Options as words: a YAML file and a command line, read without the dataclass, and so without its heavy imports.

That is all `gr2 run` needs to skip a finished stage. YAML values become command-line words, checked by the same types.
"""

import json
from pathlib import Path
from typing import Any

from gr2.errors import InputError
from gr2.files.yaml import read_yaml


def read_options(words: list[str]) -> dict[str, list[str]]:
    """`--config FILE --key value ...` -> option: its words, the file's options first, the command line's over them."""
    file, words = config_file(words)
    return (mapping_options(read_yaml(file), file) if file else {}) | read_words(words)


def read_words(words: list[str]) -> dict[str, list[str]]:
    """`--key value value ... --key=value` -> option: its words; of one that is given twice the last."""
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


def find_repeated(words: list[str]) -> list[str]:
    """The options that are given more than once."""
    names = [word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--")]
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def config_file(words: list[str]) -> tuple[Path | None, list[str]]:
    """The file of `--config FILE` or `--config=FILE`, if any, and the other words."""
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    if "--config" not in words:
        return None, words
    index = words.index("--config")
    if index + 1 == len(words):
        raise InputError("--config: expected a file name after it")
    return Path(words[index + 1]), words[:index] + words[index + 2 :]


def mapping_options(values: dict, source: Path | None = None) -> dict[str, list[str]]:
    """A YAML mapping as options; null leaves the default. `source` is named in errors."""

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
