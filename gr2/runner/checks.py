"""Checks a command's options before it is imported, which can take seconds: what is wrong is said at once."""

from pathlib import Path

from gr2.errors import InputError
from gr2.files.paths import exists, expect_file, is_table
from gr2.files.remote import is_url
from gr2.options.parse import read_values
from gr2.runner.declarations import read_command
from gr2.stages import STAGES


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
            advice = advise(Path(path).name) or (where if recipe and not Path(path).is_absolute() else "")
            if Path(kind).suffix or (is_table(path) and not exists(path) and not set("*?[") & set(path)):
                expect_file(path, advice)


def advise(name: str) -> str:
    """ "items.parquet" -> "; `gr2 prepare` makes it"; "" for a file that no command writes."""
    makers = [f"`gr2 {command}`" for command in STAGES if name in read_command(command).writes]
    return f"; {' or '.join(makers)} makes it" if makers else ""
