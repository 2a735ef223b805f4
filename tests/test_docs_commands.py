"""Commands of README.md, CONTRIBUTING.md and docs/: gr2's own parser knows their options, and what they name exists."""

import dataclasses
import importlib
import re
import subprocess
import tomllib

import pytest

from gr2.cli import AROUND
from gr2.errors import InputError
from gr2.options.parse import parse, refuse_unknown
from gr2.options.words import config_file, read_words
from gr2.runner.check_plan import check as check_options
from gr2.runner.declarations import read_command
from gr2.runner.pipeline import select, split_changes
from gr2.runner.plan import read_plan, stage_options
from gr2.runner.recipe import find_recipe
from gr2.stages import STAGES, module_of
from tests.doc_commands import PAGES, ROOT, gr2_words, programs, shell_lines, spans

PLACEHOLDERS = {"COMMAND", "STAGE", "RECIPE", "FILE", "NAME", "KIND"}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
PROGRAMS = [(line, program) for line in shell_lines() for program in programs(line)]
GR2 = [(line, words) for line, program in PROGRAMS if (words := gr2_words(program)) is not None]


@pytest.fixture(autouse=True)
def cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def check(words: list[str], elided: bool) -> None:
    """Fails where gr2 would refuse these words before it opens a file; if `elided`, for the names of options alone."""
    length = 2 if words[:1] == ["fit"] else 1
    command, words = " ".join(words[:length]), [word for word in words[length:] if word != "..."]
    if command == "fit" or command.split()[-1] in PLACEHOLDERS:
        return
    if words == ["--help"]:
        assert command in STAGES | AROUND
    elif command in ("run", "update", "estimate", "recipes"):
        check_recipe(command, words)
    elif command == "env":
        assert words == []
    elif command in AROUND:
        if words or not elided:
            importlib.import_module(AROUND[command][0]).parser().parse_args(words)
    else:
        assert command in STAGES, f"gr2 {command}: no such command"
        check_stage(command, words, elided)


def check_recipe(command: str, words: list[str]) -> None:
    """A recipe that is named, not a file of the reader's, has the stages that the words name."""
    words, changes = split_changes(words)
    if command == "recipes":
        assert not words or (words[0] == "copy" and len(words) in (2, 3))
        name = words[1] if words else None
    else:
        options = importlib.import_module(AROUND[command][0]).parser().parse_args(words) if words else None
        name = options and options.recipe
    if name and name not in PLACEHOLDERS and not name.endswith(".yaml"):
        plan = read_plan(find_recipe(name), changes, options.set if command == "run" else [])
        check_options([stage for stage in plan if stage.id in changes])
        if command == "run":
            select(plan, options)


def check_stage(command: str, words: list[str], elided: bool) -> None:
    options, declared = read_words(config_file(words)[1]), read_command(command)
    if elided and options.keys() <= declared.options.keys() | {"output_dir"}:
        return
    config_class = importlib.import_module(module_of(command)).Config  # slow where TRL is imported
    if elided:
        refuse_unknown(command, options, [field.name for field in dataclasses.fields(config_class) if field.init])
    else:
        parse(command, config_class, options)


@pytest.mark.parametrize(("line", "words"), GR2, ids=lambda value: str(value) if not isinstance(value, list) else "")
def test_gr2_takes_the_words_of_every_command_in_a_block(line, words):
    check(words, elided="..." in words)


def test_every_command_in_running_text_exists_and_has_its_options():
    wrong = []
    for span in spans():
        try:
            check(span.words[1:], elided=True)
        except (InputError, AssertionError, SystemExit) as error:
            wrong.append(f"{span}: {error}")
    assert wrong == []


def test_the_check_finds_a_wrong_command_option_value_recipe_and_stage():
    for text in ("sfft --x 1", "sft --learning_rat 1 ...", "fit prm --epoch 1 ...", "run dem", "run demo --until x",
                 "run demo --sft.learning_rat 1", "sids --levels 2", "estimate qwen"):  # fmt: skip
        with pytest.raises((InputError, AssertionError)):
            check(text.split(), elided="..." in text)
    for text in ("serve popularity --prot 1", "push a"):
        with pytest.raises(SystemExit):
            check(text.split(), elided=False)
    assert len(GR2) > 30 and {"run", "prepare", "serve", "rerank"} <= {words[0] for _, words in GR2}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_bash_reads_every_block_that_is_marked_as_bash(page):
    for script in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_what_accelerate_starts_is_a_stage_of_a_recipe():
    launched = [program for _, program in PROGRAMS if "accelerate" in program and program[-1] != "..."]
    assert launched
    for words in launched:
        script = next(at for at, word in enumerate(words) if word.startswith("scripts/"))
        assert (ROOT / words[words.index("--config_file") + 1]).exists()
        command = words[script].removeprefix("scripts/").removesuffix(".py")
        assert "model_name_or_path" in stage_options(command, words[script + 1 :])


def test_files_of_the_repository_extras_and_make_targets_that_commands_name_exist():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line, program in PROGRAMS:
        for word in program:
            if re.match(r"(recipes|scripts|benchmarks|requirements|prompts|tests)/", word):
                assert (ROOT / word).exists(), line
            for extra in re.findall(r"^(?:\.|gr2|.*\.whl)\[([\w,]+)\]$", word):
                assert set(extra.split(",")) <= EXTRAS, line
        if program[:1] == ["make"]:
            assert set(word for word in program[1:] if "=" not in word) <= set(targets), line
