"""The Dockerfile fits the repository. `make lint` runs hadolint on it; no test builds an image."""

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

from tests.doc_commands import programs, shell_lines

ROOT = Path(__file__).parents[1]
STEPS = [
    line.split(maxsplit=1)
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TARGETS = {argument.split()[-1] for step, argument in STEPS if step == "FROM"} - {"base"}


def in_context(path: str) -> bool:
    """Whether .dockerignore, which leaves out all and takes in by `!NAME`, lets a file or folder through."""
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in lines
    return any(fnmatch.fnmatch(path.split("/")[0], line[1:]) for line in lines if line.startswith("!"))


def test_what_is_copied_exists_and_reaches_the_build():
    copied = [argument.split()[0] for step, argument in STEPS if step == "COPY"]
    assert {"requirements/cpu.txt", "requirements/cuda.txt", "."} == set(copied)
    assert all((ROOT / path).exists() and in_context(path) for path in copied if path != ".")


def test_the_build_gets_all_that_the_wheel_is_made_of_and_no_more():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    needed = {*wheel, "pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    got = {path.name for path in ROOT.iterdir() if in_context(path.name)}
    assert got == needed | {"requirements"}


def test_python_torch_and_the_command_are_those_of_the_project():
    text = (ROOT / "Dockerfile").read_text()
    pinned = re.search(r"Python (\d\.\d+)", (ROOT / "requirements/cuda.txt").read_text())[1]
    assert re.findall(r"^FROM python:([\d.]+)-", text, re.MULTILINE) == [pinned]
    assert re.search(r"torch==[\d.]+", text)[0] in PROJECT["project"]["dependencies"]
    assert ["ENTRYPOINT", '["gr2"]'] in STEPS and "gr2" in PROJECT["project"]["scripts"]


def test_every_image_runs_as_another_user_than_root():
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    assert len(stages) == 1 + len(TARGETS) == 3
    assert all(stage.rstrip().endswith("USER 1000") for stage in stages[1:])


@pytest.mark.parametrize("page", ["docs/install.md", "Dockerfile"])
def test_targets_and_images_of_the_commands_shown_exist(page):
    if page == "Dockerfile":
        words = [line.lstrip("# ").split() for line in (ROOT / page).read_text().splitlines() if "docker build" in line]
    else:
        shown = [program for line in shell_lines() if line.page == ROOT / page for program in programs(line)]
        words = [program for program in shown if program[:1] == ["docker"]]
    assert words
    for command in words:
        assert all(image.removeprefix("gr2:") in TARGETS for image in command if image.startswith("gr2:"))
        if "--target" in command:
            assert command[command.index("--target") + 1] in TARGETS
