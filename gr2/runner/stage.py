"""Runs one stage: checks its inputs, lets it write, and records in `manifest.json` how the output was made.

gr2/runner/output_folder.py says what happens to a folder's earlier contents.
"""

import copy
import dataclasses
import importlib
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gr2.errors import InputError
from gr2.files import artifacts
from gr2.files.paths import exists
from gr2.files.remote import refuse_url
from gr2.hub.facts import TITLES
from gr2.masking import MASK, is_secret, mask, mask_options
from gr2.options.declare import is_input
from gr2.options.help import describe_options
from gr2.options.words import config_file
from gr2.process_errors import is_follower
from gr2.runner import environment, output_folder
from gr2.runner.checks import read_config
from gr2.runner.code_version import code_version
from gr2.runner.lock import hold_lock
from gr2.runner.plan import stage_options
from gr2.stages import module_of
from gr2.terminal import silence_libraries

if TYPE_CHECKING:
    from gr2.hub.push import Repository


def run_stage(stage: str, words: list[str]) -> None:
    """Parses `words`, runs the stage, writes the manifest and prints one line with time and peak memory."""
    if "-h" in words or "--help" in words:
        module = importlib.import_module(module_of(stage))
        print(describe_options(stage, module.Config, module.__doc__))
        return
    silence_libraries()
    options, source = stage_options(stage, words), config_file(words)[0]
    config, module = read_config(stage, options, source, "--recipe" in words)
    refuse_url("output_dir", config.output_dir)
    pushed = vars(config).get("push_to_hub")  # of a training
    for_stage = disable_push(config) if pushed else config
    if is_follower():  # only the first process of several holds and describes the folder
        wait_for_all_processes()
        module.run(for_stage)
        return
    repository = claim_repository(config) if pushed else None
    started = time.monotonic()
    output_dir = Path(config.output_dir)
    plan = describe(stage, options, config)
    with hold_lock(output_dir):
        claim = output_folder.claim(output_dir, plan)
        wait_for_all_processes()  # nobody looks for checkpoints before the folder is claimed
        try:
            module.run(for_stage)
        except InputError:
            if claim.fresh:
                output_folder.release(output_dir, claim)
            raise
        finish(output_dir, plan, config, time.monotonic() - started)
        if repository:
            repository.push(output_dir)


def disable_push(config: Any) -> Any:
    """For the trainer, which would push checkpoints, and a folder that is not finished."""
    local = copy.copy(config)
    local.push_to_hub = False
    return local


def claim_repository(config: Any) -> "Repository":
    """Where the model will go; InputError, before anything is trained, where its token may not write there."""
    from gr2.hub.push import open_repository

    name = config.hub_model_id or Path(config.output_dir).resolve().name
    return open_repository(name, config.hub_private_repo, config.hub_revision, config.hub_token)


def wait_for_all_processes() -> None:
    if environment.count_processes() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def describe(stage: str, options: dict, config: Any) -> dict:
    """What determines a stage's output: stage, options, code, sha256 of every input file.

    InputError where a manifest knows an input under another sha256, and for weights that are cut short.
    """
    paths = input_paths(config, options)
    inputs = hash_inputs(paths, config.output_dir)
    for file, digest in inputs.items():
        artifacts.check_against_manifest(Path(file), digest)
        artifacts.check_weights(Path(file))
    return {
        "stage": stage,
        "options": mask_options(options),
        "input_paths": [mask(path) for path in paths],
        "inputs": inputs,
        "code": code_version(module_of(stage)),
    }


def input_paths(config: Any, options: dict[str, list[str]]) -> list[str]:
    """The values of a config's input options, of NAME=FILE the file: files, folders, hub ids and built-in names."""
    paths = []
    for field in filter(is_input, dataclasses.fields(config)):
        value = options.get(field.name) or vars(config)[field.name]
        words = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        if field.name in ("prompt", "domain"):
            from gr2.prompts.prompt import prompt_file

            words = [prompt_file(word) for word in words]  # a name stands for a file of gr2's own
        paths += [word if exists(word) else word.partition("=")[2] or word for word in words if word]
    return paths


def hash_inputs(paths: list[str], output_dir: str | Path) -> dict[str, str]:
    """Every file of the paths that exist -> its sha256. A folder's part that the stage writes to is left out."""
    output, files = Path(output_dir).resolve(), []
    for path in filter(exists, paths):
        inside = Path(path).resolve().is_relative_to(output)
        files += [file for file in artifacts.files_below(path) if inside or not file.resolve().is_relative_to(output)]
    return {str(file): artifacts.sha256(file) for file in files}


def describe_config(config: Any) -> dict:
    """A config's fields as JSON values, without secrets."""
    names = [field.name for field in dataclasses.fields(config) if field.init]
    return {name: mask_value(name, vars(config)[name]) for name in names}


def mask_value(name: str, value: Any) -> Any:
    if is_secret(name) and value is not None:
        return MASK
    if isinstance(value, list):
        return [mask_value("", entry) for entry in value]
    return value if isinstance(value, int | float | bool | None) else mask(str(value))


def finish(output_dir: Path, plan: dict, config: Any, seconds: float) -> None:
    """Records what was written; InputError where an input is no longer what was read at the start."""
    inputs = hash_inputs(plan["input_paths"], output_dir)
    changed = [name for name in sorted(plan["inputs"] | inputs) if plan["inputs"].get(name) != inputs.get(name)]
    if changed:
        advice = f"expected inputs that do not change. {output_dir} is unfinished; run the stage again"
        raise InputError(f"{changed[0]}: changed while {plan['stage']} ran; {advice}")
    memory, rates = environment.peak_memory(), output_dir / artifacts.RATES
    made = {
        **plan,
        "config": describe_config(config),
        "command": mask(shlex.join(["gr2", *sys.argv[1:]])),
        "git_commit": environment.git_commit(),
        "packages": environment.packages(),
        "hardware": environment.hardware(),
        "processes": environment.count_processes(),
        "threads": environment.threads(),
        "seed": vars(config).get("seed"),
    }
    if plan["stage"] in TITLES and (output_dir / "config.json").exists():  # a model
        from gr2.hub.card import write_card

        write_card(output_dir, made)
    manifest = {
        **made,
        "outputs": {name: artifacts.sha256(output_dir / name) for name in output_folder.written(output_dir)},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "peak_memory_bytes": memory,
        "training_rates": artifacts.read_json(rates) if rates.exists() else None,
    }
    artifacts.write_json(output_dir / artifacts.MANIFEST, manifest)
    (output_dir / output_folder.STATE).unlink()
    output_folder.remove(output_dir / output_folder.REPLACED)
    print(f"gr2 {plan['stage']}: {output_dir} in {seconds:.1f} s, peak memory {memory / 2**30:.2f} GiB", flush=True)
