"""How a fusion's language models are asked: as they were when it was fitted, since it weighs answers of that kind."""

from collections.abc import Mapping
from pathlib import Path

from gr2.errors import InputError
from gr2.files.artifacts import sha256
from gr2.files.paths import expect_file
from gr2.prompts.prompt import prompt_file
from gr2.rerankers.origin import find_origin
from gr2.rerankers.protocol import Sampling
from gr2.rerankers.record import kind_of
from gr2.rerankers.rules import NAMES

# Not max_tokens: an answer that it cuts off is unusable, and counted.
OPTIONS = ("prompt", "order", "max_prompt_tokens", "temperature")


def is_language_model(member: str) -> bool:
    """Whether these options change its answers."""
    return member not in NAMES and kind_of(member) == "language model"


def describe_sampling(sampling: Sampling) -> dict:
    """How a language model will be asked: OPTIONS, and the sha256 of the prompt's file."""
    file = prompt_file(sampling.prompt)
    expect_file(file)
    return describe_options(vars(sampling), sha256(file))


def describe_file(path: str) -> dict:
    """How the language model was asked that gave these rankings; InputError without a manifest that says so."""
    origin = find_origin(path)
    if not origin:
        expected = "the manifest of `gr2 rerank` beside it, which says how the language model was asked"
        raise InputError(f"--member_rankings {path}: expected {expected}; found none")
    name = Path(prompt_file(origin["config"]["prompt"])).name
    digest = next((digest for file, digest in origin["inputs"].items() if Path(file).name == name), None)
    return describe_options(origin["config"], digest)


def describe_options(given: Mapping, digest: str | None) -> dict:
    return {**{name: given.get(name) for name in OPTIONS}, "prompt_sha256": digest}


def check_settings(where: str, member: str, fitted: dict, found: dict) -> None:
    """InputError where the answers to come, or of a file, are not of the kind that the fusion was fitted on."""
    if found["prompt_sha256"] != fitted["prompt_sha256"] and found["prompt"] == fitted["prompt"]:
        changed = f"the prompt {found['prompt']} is not what {member} was asked with when the fusion was fitted"
        raise InputError(f"{where}: {changed}; run `gr2 fit fusion` again")
    same = {name: found[name] == fitted[name] for name in OPTIONS}
    same["prompt"] = found["prompt_sha256"] == fitted["prompt_sha256"]
    wrong = [name for name in OPTIONS if not same[name]]
    if wrong:
        given, expected = (write_options(settings, wrong) for settings in (found, fitted))
        why = f"with which {member} was asked when the fusion was fitted"
        raise InputError(f"{where}: expected {expected}, {why}; found {given}")


def write_options(settings: dict, names: list[str]) -> str:
    words = [f"no --{name}" if settings[name] is None else f"--{name} {settings[name]}" for name in names]
    return " and ".join(words)
