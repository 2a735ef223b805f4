"""Whether a stage has to run, and why: compares its folder with its present options, inputs and code."""

from pathlib import Path
from typing import Any

from gr2.files import artifacts
from gr2.masking import mask_options
from gr2.runner.code_version import code_version
from gr2.runner.output_folder import STATE
from gr2.runner.stage import hash_inputs
from gr2.stages import module_of


def why_run(stage: str, options: dict[str, list[str]]) -> str:
    """ "never run", "options changed: seed", ...; "" where nothing changed, so that the stage can be skipped.

    Raises InputError if a finished output no longer has the sha256 that its manifest recorded.
    """
    output_dir = Path(*options.get("output_dir", []))
    begun, manifest = output_dir / STATE, output_dir / artifacts.MANIFEST
    if not begun.exists() and not manifest.exists():
        return "never run"
    made = artifacts.read_manifest(begun if begun.exists() else manifest)
    if made.get("stage") != stage:
        return f"another stage's folder: {made.get('stage')}"
    for what, before, now in (
        ("options", made.get("options"), mask_options(options)),
        ("code", made.get("code"), code_version(module_of(stage))),
        ("input", made["inputs"], hash_inputs(made["input_paths"], output_dir)),
    ):
        names = compare(before, now)
        if names:
            return f"{what} changed: {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    if begun.exists():
        return "interrupted: resumes"
    for name in made["outputs"]:
        if not (output_dir / name).exists():
            return f"output missing: {name}"
        if name != artifacts.CARD:  # which people may write in
            artifacts.check_against_manifest(output_dir / name, artifacts.sha256(output_dir / name))
    return ""


def compare(before: Any, now: dict) -> list[str]:
    """The keys that only one of two mappings has, or with another value; a manifest may hold anything."""
    before = before if isinstance(before, dict) else {}
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
