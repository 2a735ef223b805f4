"""`gr2 run --config PIPELINE.yaml`: the stages of a recipe in order, each in a process of its own.

A recipe is `stages:`, a list of `STAGE: FILE` (relative to the recipe) or `STAGE: {key: value, ...}`, where `config: FILE`
gives the options that are not named. `{for: {NAME: [value, ...], ...}, stages: [...]}` stands for its stages once for every
combination of the values, which take the place of `{NAME}` in them. Or a recipe is another recipe with changes: `base: FILE`,
`folder:` in the place of the folder that the base writes to, and under the name of a stage's own folder the options that
differ. A stage whose inputs, config and code are unchanged is skipped; an interrupted one resumes by itself when it is
started again.
"""

import argparse
import importlib
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gr2.errors import InputError
from gr2.files.yaml import read_yaml
from gr2.options.parse import config_file, mapping_options, parse, read_options
from gr2.runner.stage import is_current
from gr2.stages import STAGES, module_of

INTERRUPTED = 130

Plan = list[tuple[str, list[str], dict[str, list[str]]]]


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="gr2 run", description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", required=True, help="a pipeline recipe, e.g. recipes/demo/pipeline.yaml")
    parser.add_argument("--until", help="stop after the stage that writes to this folder name, e.g. slates")
    options = parser.parse_args(words)
    plan = read_pipeline(Path(options.config))
    folders = [Path(*stage_options["output_dir"]).name for _, _, stage_options in plan]
    if options.until and options.until not in folders:
        raise InputError(f"--until {options.until}: expected one of {', '.join(folders)}")
    started, checked = time.monotonic(), False
    for number, (stage, stage_words, stage_options) in enumerate(plan, start=1):
        label = f"[{number}/{len(plan)}] {stage} -> {stage_options['output_dir'][0]}"
        if is_current(stage, stage_options):
            print(f"{label}: unchanged, skipped", flush=True)
        else:
            if not checked:  # a typing error in the last stage shows before the first one runs for an hour
                check(plan)
                checked = True
            print(label, flush=True)
            status = run_in_a_process([sys.executable, "-m", "gr2", stage, *stage_words])
            if status == INTERRUPTED:  # the stage has said so
                sys.exit(status)
            if status:
                print(
                    f"gr2 run: stage {stage} ended with {status}; the same command goes on from here", file=sys.stderr
                )
                sys.exit(status if status > 0 else 1)
        if folders[number - 1] == options.until:
            break
    print(f"gr2 run: {options.config} done in {time.monotonic() - started:.1f} s", flush=True)


def run_in_a_process(command: list[str]) -> int:
    """Its exit code. Ctrl-C reaches both processes: this one waits until the other has come to its end."""
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # that of polars goes on waiting, and then loses the exit code
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # where only this process was sent one
            status = process.wait()
            return INTERRUPTED if status == -signal.SIGINT else status


def read_pipeline(path: Path, above: tuple[Path, ...] = ()) -> Plan:
    """[(stage, its command-line words, its options)] of a recipe; `above` are the recipes that it is a base of."""
    if path.resolve() in above:
        raise InputError(f"{path}: expected a base that is not, by way of its own base, this recipe itself")
    recipe = read_yaml(path)
    if "base" in recipe:
        return changed_pipeline(path, recipe, above)
    if set(recipe) != {"stages"} or not isinstance(recipe["stages"], list) or not recipe["stages"]:
        raise InputError(f"{path}: expected one key, 'stages', with a list of 'STAGE: FILE or mapping'")
    entries = [entry for entry in recipe["stages"] for entry in repeated(entry, path)]
    plan = [planned(entry, path, f"{path}, stages entry {number}") for number, entry in enumerate(entries, start=1)]
    refuse_one_folder_for_two(plan, path)
    return plan


def refuse_one_folder_for_two(plan: Plan, path: Path) -> None:
    folders = [os.path.normpath(*options["output_dir"]) for _, _, options in plan]
    twice = next((folder for folder in folders if folders.count(folder) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: expected a folder of its own for every stage, found output_dir {twice} twice")


def repeated(entry: Any, path: Path) -> list:
    """A `for` entry as the entries that it stands for; any other entry as it is."""
    if not isinstance(entry, dict) or "for" not in entry:
        return [entry]
    values = entry["for"]
    lists = isinstance(values, dict) and all(isinstance(value, list) for value in values.values())
    if set(entry) != {"for", "stages"} or not lists or not isinstance(entry["stages"], list):
        raise InputError(f"{path}: expected `for: {{NAME: [value, ...]}}` with `stages:` beside it, found {entry!r}")
    chosen = [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]
    return [filled(inner, names) for names in chosen for stage in entry["stages"] for inner in repeated(stage, path)]


def filled(value: Any, names: dict) -> Any:
    """`{seed}` -> 0 in every text of a mapping or list, where `names` has it."""
    if isinstance(value, dict):
        return {key: filled(entry, names) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled(entry, names) for entry in value]
    for name, own in names.items() if isinstance(value, str) else ():
        value = value.replace(f"{{{name}}}", str(own))
    return value


def planned(entry: Any, path: Path, where: str) -> tuple[str, list[str], dict[str, list[str]]]:
    """(stage, its command-line words, its options) of one entry."""
    if not isinstance(entry, dict) or len(entry) != 1 or next(iter(entry)) not in STAGES:
        raise InputError(f"{where}: expected 'STAGE: FILE or mapping', found {entry!r}")
    ((stage, source),) = entry.items()
    if not isinstance(source, str | dict):
        raise InputError(f"{where}: expected 'STAGE: FILE or mapping', found {entry!r}")
    own = {"config": source} if isinstance(source, str) else dict(source)
    file = own.pop("config", None)
    if not isinstance(file, str | None):
        raise InputError(f"{where}: config: expected the name of a file, found {file!r:.80}")
    words = ["--config", str(path.parent / file)] if file else []
    words += [word for key, values in mapping_options(own, path).items() for word in (f"--{key}", *values)]
    options = read_options(words)
    if len(options.get("output_dir", [])) != 1:
        raise InputError(f"{where}: stage {stage}: expected one output_dir")
    return stage, words, options


def changed_pipeline(path: Path, recipe: dict, above: tuple[Path, ...]) -> Plan:
    """The base's plan, its folder exchanged, with the recipe's options over those of the base; null takes one away."""
    base, folder = recipe.pop("base"), recipe.pop("folder", None)
    if not isinstance(base, str) or not isinstance(folder, str):
        raise InputError(f"{path}: expected `base: FILE`, another recipe, and `folder: FOLDER` to write to")
    plan = read_pipeline(path.parent / base, (*above, path.resolve()))
    old = common_folder([os.path.dirname(*options["output_dir"]) for _, _, options in plan], path)
    names = [Path(*options["output_dir"]).name for _, _, options in plan]
    for name, changes in recipe.items():
        if names.count(name) != 1 or not isinstance(changes, dict):
            raise InputError(f"{path}: '{name}': expected the options of one of the base's folders, {', '.join(names)}")
    changed = []
    for name, (stage, _, options) in zip(names, plan, strict=True):
        own = recipe.get(name, {})
        options = {key: [moved(word, old, folder) for word in words] for key, words in options.items()}
        options |= mapping_options(own, path)
        options = {key: words for key, words in options.items() if own.get(key, 0) is not None}
        if len(options.get("output_dir", [])) != 1:
            raise InputError(f"{path}: '{name}': expected one output_dir")
        changed.append((stage, [word for key, words in options.items() for word in (f"--{key}", *words)], options))
    refuse_one_folder_for_two(changed, path)
    return changed


def common_folder(folders: list[str], path: Path) -> str:
    """The folder that a base writes to, which the recipe exchanges for its own."""
    mixed = len({os.path.isabs(folder) for folder in folders}) > 1
    common = "" if mixed else os.path.commonpath(folders)
    if common in ("", "/"):
        raise InputError(
            f"{path}: expected a base that writes to one folder, found output_dirs in {', '.join(folders)}"
        )
    return common


def moved(word: str, old: str, new: str) -> str:
    """`runs/demo/sids` -> `runs/mine/sids`, also behind `NAME=`."""
    name, equals, value = word.rpartition("=")
    return name + equals + new + value.removeprefix(old) if value == old or value.startswith(old + "/") else word


def check(plan: Plan) -> None:
    """Parses every stage's options and checks their values; InputError on the first that is wrong."""
    for stage, words, options in plan:
        try:
            parse(stage, importlib.import_module(module_of(stage)).Config, options, config_file(words)[0])
        except InputError as error:
            raise InputError(f"{stage}: {str(error).removeprefix(f'{stage}: ')}") from None
