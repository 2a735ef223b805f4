"""Runs one stage: checks its inputs, lets it write, and records in `manifest.json` how the output was made.

An output folder is in one of three states: unfinished (`stage.json` says what it is becoming, so that the same
command resumes), finished (`manifest.json`), or absent.
"""

import dataclasses
import importlib
import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from gr2 import artifacts, environment
from gr2.cli import STAGES
from gr2.config import config_file, describe_options, parse, read_options
from gr2.errors import InputError


def run_stage(stage: str, words: list[str]) -> None:
    """Parses `words`, runs the stage, writes the manifest and prints one line with time and peak memory."""
    module = importlib.import_module(STAGES[stage][0])
    if "-h" in words or "--help" in words:
        print(describe_options(stage, module.Config, module.__doc__))
        return
    options = read_options(words)
    config = parse(stage, module.Config, options, config_file(words)[0])
    started = time.monotonic()
    output_dir = Path(config.output_dir)
    main_process = int(os.environ.get("RANK", "0")) == 0
    if main_process:
        plan = describe(stage, options, config)
        fresh = claim(output_dir, plan)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # nobody looks for checkpoints before the folder is claimed
        from accelerate import PartialState

        PartialState().wait_for_everyone()
    try:
        module.run(config)
    except InputError:
        if main_process and fresh:
            release(output_dir)
        raise
    if main_process:
        finish(output_dir, plan, config, time.monotonic() - started)


def describe(stage: str, options: dict, config: Any) -> dict:
    """What determines a stage's output: stage, options, sha256 of every input file. Checks inputs by their manifests."""
    inputs = {}
    for path in input_paths(config):
        for file in artifacts.files_below(path):
            inputs[str(file)] = artifacts.sha256(file)
            artifacts.check_against_manifest(file, inputs[str(file)])
    return {"stage": stage, "options": options, "inputs": inputs}


def plain(config: Any) -> dict:
    """A config's fields as JSON values."""
    fields = {f.name: vars(config)[f.name] for f in dataclasses.fields(config) if f.init}
    return {name: value if isinstance(value, str | int | float | bool | list | None) else str(value)
            for name, value in fields.items()}  # fmt: skip


def input_paths(config: Any) -> list[Path]:
    """The existing files and folders that a config's path options name; skips hub ids and built-in names."""
    paths = []
    for field in dataclasses.fields(config):
        value = vars(config)[field.name] if field.metadata.get("path") else None
        for entry in value if isinstance(value, list) else [value]:
            if not entry:
                continue
            path = Path(entry.partition("=")[2] if isinstance(value, list) and "=" in entry else entry)
            if path.exists():
                paths.append(path)
    return paths


def claim(output_dir: Path, plan: dict) -> bool:
    """Marks the folder as unfinished work of this plan; unfinished work of another plan is moved aside, not lost.

    False where it was unfinished work of this very plan, which now resumes.
    """
    state = output_dir / "stage.json"
    if state.exists() and artifacts.read_json(state) != plan:
        number = next(n for n in range(1, 10_000) if not output_dir.with_name(f"{output_dir.name}.old-{n}").exists())
        aside = output_dir.with_name(f"{output_dir.name}.old-{number}")
        output_dir.rename(aside)
        print(f"gr2: {output_dir} held unfinished work of another configuration; it is now {aside}", file=sys.stderr)
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError(f"output_dir {output_dir}: expected a folder, found a file")
    for torn in output_dir.glob(".*.partial"):  # what a kill left of a file that was being written
        shutil.rmtree(torn) if torn.is_dir() else torn.unlink()
    if state.exists():
        return False
    artifacts.write_json(state, plan)
    return True


def release(output_dir: Path) -> None:
    """Takes back a claim: wrong input leaves nothing behind."""
    (output_dir / "stage.json").unlink()
    if not any(output_dir.iterdir()):
        output_dir.rmdir()


def finish(output_dir: Path, plan: dict, config: Any, seconds: float) -> None:
    memory = environment.peak_memory()
    outputs = {str(file.relative_to(output_dir)): artifacts.sha256(file) for file in artifacts.files_below(output_dir)}
    manifest = {
        **plan,
        "config": plain(config),
        "command": shlex.join(["gr2", *sys.argv[1:]]),
        "code": environment.code_version(),
        "git_commit": environment.git_commit(),
        "packages": environment.packages(),
        "hardware": environment.hardware(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "seed": vars(config).get("seed"),
        "outputs": outputs,
        "seconds": round(seconds, 2),
        "peak_memory_bytes": memory,
    }
    artifacts.write_json(output_dir / artifacts.MANIFEST, manifest)
    (output_dir / "stage.json").unlink()
    print(f"gr2 {plan['stage']}: {output_dir} in {seconds:.1f} s, peak memory {memory / 2**30:.2f} GiB", flush=True)


def is_current(stage: str, options: dict[str, list[str]]) -> bool:
    """True if the output folder is finished and was made from these options, the same inputs and this code.

    Raises InputError if a finished output no longer has the sha256 that its manifest recorded.
    """
    output_dir = Path(*options.get("output_dir", []))
    if not (output_dir / artifacts.MANIFEST).exists() or (output_dir / "stage.json").exists():
        return False
    manifest = artifacts.read_json(output_dir / artifacts.MANIFEST)
    made_of = (manifest.get("stage"), manifest.get("options"), manifest.get("code"))
    if made_of != (stage, options, environment.code_version()):
        return False
    for name, recorded in manifest["inputs"].items():
        if not Path(name).exists() or artifacts.sha256(name) != recorded:
            return False
    for name, recorded in manifest["outputs"].items():
        if not (output_dir / name).exists():
            return False
        if artifacts.sha256(output_dir / name) != recorded:
            artifacts.check_against_manifest(output_dir / name, artifacts.sha256(output_dir / name))
            return False  # in a subfolder, which has no manifest of its own
    return True
