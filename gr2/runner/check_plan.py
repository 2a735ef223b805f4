"""What is known to be wrong with a recipe's plan before its first stage runs."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gr2.errors import InputError
from gr2.files.artifacts import MANIFEST
from gr2.options.parse import parse
from gr2.runner.checks import check_files, check_words
from gr2.runner.declarations import read_command
from gr2.runner.plan import Stage
from gr2.stages import module_of


def check_all(plan: list[Stage], chosen: list[str]) -> None:
    """InputError on what can be known to be wrong before the first stage runs."""
    check_inputs(plan, chosen)
    check_facts(plan, chosen)
    check(plan)


def check(plan: list[Stage]) -> None:
    """InputError on the first option that is wrong, of any stage; first what can be said without importing stages."""
    for stage in plan:
        with name_stage(stage):
            check_words(stage.command, stage.options)
    for stage in plan:
        with name_stage(stage):
            parse(stage.command, importlib.import_module(module_of(stage.command)).Config, stage.options)


def check_inputs(plan: list[Stage], chosen: list[str]) -> None:
    """InputError where a chosen stage is to read a file that is not there, and that no stage of the plan writes."""
    folders = tuple(stage.folder for stage in plan)
    for stage in plan:
        with name_stage(stage):
            if stage.id in chosen:
                check_files(stage.command, stage.options, folders, recipe=True)


def check_facts(plan: list[Stage], chosen: list[str]) -> None:
    """InputError where the prompt of a chosen training shows facts, and its slates are those of another stage than
    `gr2 facts`.
    """
    from gr2.prompts.prompt import load_prompt  # slow to import
    from gr2.prompts.render import NO_FACTS, needs_facts

    commands = {str(stage.folder / "slates.parquet"): stage.command for stage in plan}
    for stage in plan:
        command = commands.get("".join(stage.options.get("slates", [])), "facts")  # of other files, nothing is known
        prompt = "".join(stage.options.get("prompt", []))
        if stage.id in chosen and read_command(stage.command).trains and command != "facts" and prompt:
            with name_stage(stage):
                if needs_facts(load_prompt(prompt)):
                    raise InputError(f"--prompt {prompt}: {NO_FACTS}")


@contextmanager
def name_stage(stage: Stage) -> Iterator[None]:
    """Replaces the command by the stage's id in an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{stage.id}: {str(error).removeprefix(f'{stage.command}: ')}") from None


def check_sources(plan: list[Stage], chosen: list[str], name: str) -> None:
    """InputError where a chosen stage reads what a stage that is not chosen has yet to write."""
    folders = {stage.id: stage.folder for stage in plan}
    for stage in plan:
        for path, source in stage.sources.items() if stage.id in chosen else ():
            if source not in chosen and not ((folders[source] / MANIFEST).exists() and Path(path).exists()):
                command = f"gr2 run {name} --only {source}"
                raise InputError(f"stage {stage.id} reads {path}, which stage {source} has yet to write: {command}")
