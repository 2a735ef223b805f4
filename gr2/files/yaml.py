"""Reads a YAML file that holds what JSON could hold, and says in one sentence where one does not."""

from pathlib import Path

import yaml

from gr2.errors import InputError

MOST_VALUES, DEEPEST = 100_000, 50


class Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, where YAML would keep the last."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = next((key for key in keys if isinstance(key, str) and keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f"the key '{twice}' stands twice in one mapping{node.start_mark}")
        return super().construct_mapping(node, deep)


# lm-format-enforcer, which vLLM imports, makes every SafeLoader read dates as texts.
Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_timestamp)


def read_yaml(path: Path) -> dict:
    """A file's mapping of text keys to texts, numbers, booleans, null, and lists and mappings of these.

    InputError for anything else: a folder, no YAML, a date, a set, an alias inside the value that it stands for.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: expected a YAML file, found a folder") from None
    except OSError as error:
        raise InputError(f"{path}: expected a YAML file, but {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected YAML, but {describe(error)}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a YAML mapping of option: value")
    check(values, path)
    return values


def describe(error: Exception) -> str:
    """One sentence: where in the file YAML stopped, and why."""
    if not isinstance(error, yaml.MarkedYAMLError) or not error.problem_mark:
        return " ".join(str(error).replace(' in "<unicode string>",', "").split())
    tab = "; indent with spaces, not with tabs" if "'\\t'" in str(error.problem) else ""
    return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}{tab}"


def check(values: dict, path: Path) -> None:
    """InputError where a value is none that JSON has, or is inside of itself, or where there are too many."""
    count, todo = 0, [("", values, 0)]
    while todo:
        where, value, depth = todo.pop()
        count += 1
        if count > MOST_VALUES or depth > DEEPEST:
            raise InputError(f"{path}: expected at most {MOST_VALUES:,} values, none inside of itself by an alias")
        if isinstance(value, dict):
            for key, inner in value.items():
                if not isinstance(key, str):
                    raise InputError(f"{path}: key {key!r}{where}: expected a text; put it in quotes")
                todo.append((f" of '{key}'{where}", inner, depth + 1))
        elif isinstance(value, list):
            todo += [(where, inner, depth + 1) for inner in value]
        elif not isinstance(value, str | int | float | bool | None):
            kind = type(value).__name__.replace("datetime", "time")
            found = f"the {kind} {value}; put it in quotes to have a text"
            raise InputError(f"{path}: the value{where}: expected a text, a number, a list or a mapping, found {found}")
