"""Checks a command's options before it is imported, which can take seconds: what is wrong is said at once."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from gr2.errors import InputError, did_you_mean
from gr2.files.paths import exists, expect_file, is_table
from gr2.files.remote import is_url
from gr2.options.parse import parse, read_values
from gr2.runner.declarations import read_command
from gr2.runner.plan import find_command
from gr2.stages import STAGES, module_of

NAMED = ("prompt", "domain")  # options that take the names of gr2's own files


def read_config(stage: str, options: dict, source: Path | None, recipe: bool) -> tuple[Any, ModuleType]:
    """The stage's options and its module. InputError where they are wrong, or name a file that is not there; of a
    training, whose module takes seconds to import, as much of this as can be said without it comes first.
    """
    check_words(stage, options, source)
    trains = read_command(stage).trains
    if trains:
        check_files(stage, options, recipe=recipe)
    module = importlib.import_module(module_of(stage))
    config = parse(stage, module.Config, options, source)
    if not trains:
        check_files(stage, options, recipe=recipe)
    return config, module


def check_words(command: str, options: dict[str, list[str]], source: Path | None = None) -> None:
    """InputError for an option that is unknown, missing, of another type or out of range; see `parse`."""
    read_values(command, read_command(command).all_options, options, source)


def check_files(command: str, options: dict[str, list[str]], made: tuple[Path, ...] = (), recipe: bool = False) -> None:
    """InputError where an option names a file that is not there, or a folder in its place.

    made: folders of stages that may have yet to run; what lies in them is not looked for. recipe: the paths are a
    recipe's, so the message says what they are relative to.
    """
    where = f"; in a recipe, ./FILE is beside the recipe, and another path is relative to {Path.cwd()}"
    for name, option in read_command(command).options.items():
        kind = Path(option.path).name if isinstance(option.path, str) else ""
        for word in options.get(name, []) if option.path else []:
            path = word if exists(word) else word.partition("=")[2] or word
            if is_url(path) or any(Path(path).is_relative_to(folder) for folder in made):
                continue
            if kind and (Path(path) / kind).is_file():
                raise InputError(f"--{name} {path}: expected a file, found a folder; use {Path(path) / kind}")
            advice = ""
            if not exists(path):
                advice = advise(path) or (where if recipe and not Path(path).is_absolute() else "")
            if Path(kind).suffix or (is_table(path) and not exists(path) and not set("*?[") & set(path)):
                expect_file(path, advice)
            if is_path(path) and not exists(path):
                raise InputError(f"{path}: no such file or folder{advice}")
            if name in NAMED and not exists(path):
                from gr2.prompts.prompt import DOMAINS, PROMPTS, find_file

                find_file(path, PROMPTS if name == "prompt" else DOMAINS)
            elif made and option.path is True and options.get("engine") != ["openai"]:
                refuse_no_stage(name, path, [folder.name for folder in made])


def refuse_no_stage(name: str, word: str, ids: list[str]) -> None:
    """InputError for a word that is no stage of these ids, and no folder, but was meant as one: it is almost an id, or
    begins with a command, as the id of a stage that was left out does. A model of the hub with its owner passes.
    """
    near = did_you_mean(word, ids, cutoff=0.8)
    if word in ids or "/" in word or exists(word) or not (near or find_command(word)):
        return
    from gr2.rerankers.rules import NAMES

    if word not in NAMES:
        expected = "expected a stage of the recipe, a folder, or a model of the hub as OWNER/NAME"
        raise InputError(f"--{name} {word}: {expected}; no stage has this id{near}")


def is_path(word: str) -> bool:
    """Whether it can be no name of a model on the hub, as me/model is."""
    return (word.startswith(("/", "./", "../")) or word.count("/") > 1) and not set("*?[") & set(word)


def advise(path: str) -> str:
    """ "run/prepare/items.parquet" -> "; `gr2 prepare` makes it"; "run/sft" -> "; `gr2 sft` makes it".

    "" for a name that no command gives.
    """
    name = Path(path).name
    makers = [f"`gr2 {command}`" for command in STAGES if name in (*read_command(command).writes, command)]
    return f"; {' or '.join(makers)} makes it" if makers else ""
