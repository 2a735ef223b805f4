"""Reads a recipe file, laid over its base where it has one; docs/recipes.md describes the form."""

from pathlib import Path
from typing import Any

from gr2.errors import InputError, did_you_mean
from gr2.files.shipped import shipped
from gr2.files.yaml import read_yaml

KEYS = ("base", "folder", "variables", "defaults", "training", "stages")
STAGES = "stages: expected a mapping of ID: {option: value, ...}, as docs/recipes.md shows; not a list or a file"


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of every recipe that comes with gr2."""
    return {file.stem: file for file in sorted(shipped("recipes").glob("*.yaml"))}


def find_recipe(name: str, folder: Path = Path()) -> Path:
    """The file of a recipe that comes with gr2, or of a path, which is relative to `folder`."""
    if "/" in name or name.endswith((".yaml", ".yml")):
        return folder / name
    if name not in shipped_recipes():
        known = ", ".join(shipped_recipes()) + did_you_mean(name, shipped_recipes())
        raise InputError(f"recipe {name}: expected a path ending in .yaml, or one of {known}")
    return shipped_recipes()[name]


def read_recipe(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """`folder`, `variables`, `defaults`, `training` and `stages` of a recipe, and `left_out`, the ids of the base's
    stages that it leaves out. above: the recipes it is a base of.
    """
    if path.resolve() in above:
        raise InputError(f"{path}: expected a base that is not, by way of its own base, this recipe itself")
    recipe = resolve_beside(read_yaml(path), path.parent)
    check_form(recipe, path)
    recipe = {"variables": {}, "defaults": {}, "training": {}, "stages": {}, "left_out": []} | recipe
    if "base" in recipe:
        file = find_recipe(recipe["base"], path.parent)
        if not file.exists():
            where = f"a base is a name that `gr2 recipes` lists, or relative to the recipe's folder, {path.parent}"
            raise InputError(f"{path}: base {recipe['base']}: no such file; {where}")
        base = read_recipe(file, (*above, path.resolve()))
        stages = {key: options and base["stages"].get(key, {}) | options for key, options in recipe["stages"].items()}
        variables = base["variables"] | recipe["variables"]
        recipe = base | recipe | {name: drop_null(base[name] | recipe[name]) for name in ("defaults", "training")}
        recipe["variables"] = variables
        recipe["stages"] = {key: options for key, options in (base["stages"] | stages).items() if options is not None}
        gone = [key for key, options in stages.items() if options is None]
        for key in (key for key in gone if key not in base["stages"]):
            raise InputError(f"{path}: stage {key}: expected a stage of the base, one of {', '.join(base['stages'])}")
        recipe["left_out"] = [key for key in base["left_out"] + gone if key not in recipe["stages"]]
    if not recipe.get("folder") or not recipe["stages"]:
        raise InputError(f"{path}: expected `folder:`, the folder to write to, and `stages:`, each with its options")
    return recipe


def drop_null(values: dict) -> dict:
    return {name: value for name, value in values.items() if value is not None}


def fill_variables(recipe: dict, given: list[str], path: Path) -> dict:
    """The recipe with its variables' values, those of `given` (NAME=VALUE) over its own, in folder and stages.

    An option that needs a variable without a value is left out. InputError where a stage's `for` has a variable's name:
    its repetitions would all have the variable's value.
    """
    values = set_variables(recipe["variables"], given, path)
    for stage_id, options in recipe["stages"].items():
        for name in values.keys() & ((options or {}).get("for") or {}):
            raise InputError(f"{path}: stage {stage_id}: for: {name}: expected another name: a variable has this one")
    known = drop_null(values)
    unknown = [f"{{{name}}}" for name in values.keys() - known]

    def fill_all(options: dict) -> dict:
        return {
            name: fill(entry, known) for name, entry in options.items() if not any(v in str(entry) for v in unknown)
        }

    if "folder" not in fill_all({"folder": recipe["folder"]}):
        raise InputError(f"{path}: folder {recipe['folder']}: expected a value of its variable, --set NAME=VALUE")
    stages = {stage_id: options and fill_all(options) for stage_id, options in recipe["stages"].items()}
    return recipe | {"folder": fill(recipe["folder"], known), "stages": stages}


def set_variables(variables: dict, given: list[str], path: str | Path) -> dict:
    """A recipe's variables, with the values of `given` (NAME=VALUE) over its own; an empty one is none."""
    values = dict(variables)
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or name not in values:
            names = ", ".join(values) or "it has none"
            raise InputError(f"{path}: --set {word}: expected NAME=VALUE, with one of the recipe's variables: {names}")
        values[name] = value or None
    return values


def fill(value: Any, names: dict) -> Any:
    """`{seed}` -> 0 in every text of a mapping or list, where `names` has it."""
    if isinstance(value, dict):
        return {key: fill(entry, names) for key, entry in value.items()}
    if isinstance(value, list):
        return [fill(entry, names) for entry in value]
    for name, given_value in names.items() if isinstance(value, str) else ():
        value = value.replace(f"{{{name}}}", str(given_value))
    return value


def resolve_beside(value: Any, folder: Path) -> Any:
    """`./FILE` -> FILE in the recipe's folder, in every text of a mapping or list."""
    if isinstance(value, dict):
        return {key: resolve_beside(entry, folder) for key, entry in value.items()}
    if isinstance(value, list):
        return [resolve_beside(entry, folder) for entry in value]
    return str(folder / value) if isinstance(value, str) and value.startswith("./") else value


def check_form(recipe: dict, path: Path) -> None:
    """InputError unless every key is one of a recipe's and has a value of its type."""
    stages = recipe.get("stages")
    entries = stages.values() if isinstance(stages, dict) else ()
    if isinstance(stages, list) or any(isinstance(entry, str) or "config" in (entry or ()) for entry in entries):
        raise InputError(f"{path}: {STAGES}")
    for key, value in recipe.items():
        if key not in KEYS:
            raise InputError(f"{path}: '{key}': expected one of the keys {', '.join(KEYS)}")
        kind, what = (str, "a text") if key in ("base", "folder") else (dict, "a mapping")
        if not isinstance(value, kind):
            raise InputError(f"{path}: {key}: expected {what}, found {value!r:.80}")
    for key, entry in (stages or {}).items():
        if not isinstance(entry, dict) and not (entry is None and "base" in recipe):
            raise InputError(f"{path}: stage {key}: expected a mapping of options, {{}} for none, found {entry!r:.80}")
