"""A recipe's stages in order: each with its command, all its options, and the earlier stages that its inputs come from.

No stage's module is imported; what a command declares is read from its source.
"""

import fnmatch
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gr2.errors import InputError
from gr2.options.parse import refuse_unknown
from gr2.options.words import find_repeated, mapping_options, read_options, read_words
from gr2.runner.declarations import Command, Option, read_command
from gr2.runner.recipe import drop_null, fill, fill_variables, find_recipe, read_recipe
from gr2.stages import STAGES

COMMANDS = {re.sub("[- ]", "_", name): name for name in STAGES}
ID = re.compile(r"\w[\w.-]*")
LISTS = ("rankings", "top_k")  # lists of NAME=FILE; a stage's id alone gets its name from the id


@dataclass(frozen=True)
class Stage:
    id: str
    command: str
    options: dict[str, list[str]]  # the words of every option, `output_dir` among them
    sources: dict[str, str]  # an input -> the id of the earlier stage that writes it
    system: str  # its name in an evaluation: the id without the command and the seed

    @property
    def folder(self) -> Path:
        return Path(*self.options["output_dir"])


def read_plan(path: Path, changes: dict[str, dict] | None = None, variables: list[str] | None = None) -> list[Stage]:
    """The stages of a recipe file; `changes` are options by stage id, with _ for -, that win over the file's, and
    `variables`, each NAME=VALUE, win over the file's, too.
    """
    recipe, changes = fill_variables(read_recipe(path), variables or [], path), changes or {}
    entries = [entry for pattern, values in recipe["stages"].items() for entry in repeat(pattern, values, path)]
    ids = [stage_id for stage_id, _, _ in entries]
    for stage_id in ids:
        if not ID.fullmatch(stage_id) or ids.count(stage_id) > 1:
            raise InputError(f"{path}: stage {stage_id}: expected an id of its own, of letters, digits and _ - .")
    for stage_id in changes.keys() - {stage_id.replace("-", "_") for stage_id in ids}:
        raise InputError(f"--{stage_id}.…: expected the id of a stage, one of {', '.join(ids)}")
    stages: list[Stage] = []
    for stage_id, system, options in entries:
        try:
            options = options | changes.get(stage_id.replace("-", "_"), {})
            stages.append(plan_stage(stage_id, system, options, recipe, ids, stages))
        except InputError as error:
            raise InputError(f"{path}: stage {stage_id}: {error}") from None
    known = {name for stage in stages for name in read_command(stage.command).options}
    for name in drop_null(recipe["defaults"]).keys() - known:
        advice = "those of transformers and TRL belong under `training:`"
        raise InputError(f"{path}: defaults: {name}: expected an option that a stage has; {advice}")
    return stages


def repeat(pattern: str, values: dict, path: Path) -> Iterator[tuple[str, str, dict]]:
    """Id, id without the seed's part, and options, for every combination of the values of a stage's `for`."""
    lists = values.get("for") or {}
    if not isinstance(lists, dict) or not all(isinstance(value, list) for value in lists.values()):
        raise InputError(f"{path}: stage {pattern}: for: expected a mapping of NAME: [value, ...], found {lists!r:.80}")
    options = {name: value for name, value in values.items() if name != "for"}
    without_seed = re.sub("[_-]?{seed}", "", pattern) if "seed" in lists else pattern
    for combination in itertools.product(*lists.values()):
        names = dict(zip(lists, combination, strict=True))
        yield fill(pattern, names), fill(without_seed, names), fill(options, names)


def plan_stage(stage_id: str, system: str, options: dict, recipe: dict, ids: list[str], stages: list[Stage]) -> Stage:
    """A stage with all its options; `ids` are those of all stages, `stages` the earlier ones."""
    options = dict(options)
    command = command_of(stage_id, options.pop("stage", None))
    declared = read_command(command)
    given = {name: value for name, value in recipe["defaults"].items() if name in declared.options}
    given |= (recipe["training"] if declared.trains else {}) | options
    if "output_dir" in given:
        raise InputError("output_dir: expected none; a stage writes to the recipe's folder and its own id")
    refuse_unknown(command, given, declared.all_options)
    given |= find_inputs(declared, given, stages)
    options = {"output_dir": [str(Path(recipe["folder"]) / stage_id)]}
    for name, words in mapping_options(given).items():
        if name not in declared.options or declared.options[name].path:
            refuse_left_out(name, words, recipe["left_out"], ids)
        options[name] = [path for word in words for path in resolve(word, name, declared, stage_id, ids, stages)]
    system = system.removeprefix(re.sub("[- ]", "_", command) + "_")
    return Stage(stage_id, command, options, find_sources(options, declared, stages), system)


def command_of(stage_id: str, given: str | None) -> str:
    """The command that `stage:` names, else the longest that the id, or the id up to a `_`, is."""
    if given is not None and str(given) not in STAGES:
        raise InputError(f"stage: expected one of {', '.join(STAGES)}, found {given!r:.80}")
    command = given or find_command(stage_id)
    if command is None:
        raise InputError("expected `stage: COMMAND` among its options, since its id is no command")
    return command


def find_command(stage_id: str) -> str | None:
    """The longest command that the id, or the id up to a `_`, is."""
    parts = stage_id.replace("-", "_").split("_")
    starts = ["_".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((COMMANDS[start] for start in starts if start in COMMANDS), None)


def resolve(word: str, name: str, declared: Command, stage_id: str, ids: list[str], stages: list[Stage]) -> list[str]:
    """An input's word, with a stage's id replaced by its path, and a glob over ids by their paths."""
    option = declared.all_options[name]
    label, equals, id_or_glob = word.rpartition("=")
    if not option.path:
        return [word]
    if option.many and re.search("[*?]", id_or_glob) and "/" not in id_or_glob:
        fitting = [stage for stage in stages if fnmatch.fnmatchcase(stage.id, id_or_glob) and writes(stage, option)]
        if not fitting:
            raise InputError(f"--{name} {word}: expected earlier stages with such ids")
    elif id_or_glob in ids and id_or_glob != stage_id:
        fitting = [stage for stage in stages if stage.id == id_or_glob]
        if not fitting or not writes(fitting[0], option):
            expected = f"a stage that writes {option.path}" if fitting else "an earlier stage"
            raise InputError(f"--{name} {word}: expected {expected}")
    else:
        return [word]
    file = option.path if isinstance(option.path, str) else ""
    paths = [(stage.system, str(stage.folder / file)) for stage in fitting]
    named = equals or (option.many and name in LISTS)
    return [f"{label or system}={path}" if named else path for system, path in paths]


def refuse_left_out(name: str, words: list[str], left_out: list[str], ids: list[str]) -> None:
    """InputError for a word that names a stage of the base which the recipe leaves out, and none of its own, `ids`."""
    patterns = [re.sub(r"{\w+}", "*", stage_id) for stage_id in left_out]
    for word in words:
        stage = word.rpartition("=")[2]
        is_gone = any(fnmatch.fnmatchcase(stage, pattern) for pattern in patterns)
        if is_gone and not any(fnmatch.fnmatchcase(stage_id, stage) for stage_id in ids):
            raise InputError(f"--{name} {word}: expected another value: the recipe leaves this stage out (`null`)")


def writes(stage: Stage, option: Option) -> bool:
    return not isinstance(option.path, str) or option.path in read_command(stage.command).writes


def find_inputs(declared: Command, given: dict, stages: list[Stage]) -> dict[str, str]:
    """The inputs that a recipe leaves out -> the id of the latest earlier stage that writes a file of that name."""
    inputs = {}
    for name, option in declared.options.items():
        if not option.found or name in given:
            continue
        latest = next((stage.id for stage in reversed(stages) if writes(stage, option)), None)
        if latest:
            inputs[name] = latest
        elif option.required:
            raise InputError(f"--{name}: expected an earlier stage that writes {option.path}, or the path of a file")
    return inputs


def find_sources(options: dict[str, list[str]], declared: Command, stages: list[Stage]) -> dict[str, str]:
    """Which of the inputs earlier stages write."""
    inputs = [name for name, option in declared.all_options.items() if option.path]
    paths = [Path(word.rpartition("=")[2]) for name in inputs for word in options.get(name, [])]
    return {str(path): stage.id for path in paths for stage in stages if path.is_relative_to(stage.folder)}


def stage_options(command: str, words: list[str]) -> dict[str, list[str]]:
    """`--recipe NAME --stage ID --set NAME=VALUE --key value ...` -> that stage's options, the words' over them.

    null takes an option away. Without --recipe, the options are those of `--config FILE --key value ...`. Of an option
    that is given twice the last value counts; InputError for one of several values, of which the first would be lost.
    """
    declared = read_command(command).all_options
    for option in find_repeated(words):
        if option in declared and declared[option].many:
            raise InputError(f"--{option}: given twice; expected it once, with all its values after it")
    options = read_words(words)
    if not {"recipe", "stage"} & options.keys():
        return read_options(words)
    name, stage_id = " ".join(options.pop("recipe", [])), " ".join(options.pop("stage", []))
    plan = read_plan(find_recipe(name), variables=options.pop("set", []))
    stages = {stage.id: stage for stage in plan if stage.command == command}
    if stage_id not in stages or "config" in options:
        expected = f"a stage of the command {command}, one of {', '.join(stages)}, and no --config"
        raise InputError(f"--recipe {name} --stage {stage_id}: expected {expected}")
    options = stages[stage_id].options | options
    return {name: values for name, values in options.items() if values != ["null"]}
