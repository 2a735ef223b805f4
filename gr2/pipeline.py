"""`gr2 run --config PIPELINE.yaml`: the stages of a recipe in order, each in a process of its own.

A recipe is `stages:`, a list of `STAGE: FILE` (relative to the recipe) or `STAGE: {key: value, ...}`. A stage whose
inputs, config and code are unchanged is skipped; an interrupted one resumes by itself when it is started again.
"""

import argparse
import importlib
import subprocess
import sys
import time
from pathlib import Path

from gr2.cli import STAGES
from gr2.config import mapping_words, parse, read_yaml
from gr2.errors import InputError
from gr2.stage import is_current


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="gr2 run", description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", required=True, help="a pipeline recipe, e.g. recipes/demo/pipeline.yaml")
    parser.add_argument("--until", help="stop after the stage that writes to this folder name, e.g. slates")
    options = parser.parse_args(words)
    plan = read_pipeline(Path(options.config))
    folders = [Path(config.output_dir).name for _, _, config in plan]
    if options.until and options.until not in folders:
        raise InputError(f"--until {options.until}: expected one of {', '.join(folders)}")
    started = time.monotonic()
    for number, (stage, stage_words, config) in enumerate(plan, start=1):
        label = f"[{number}/{len(plan)}] {stage} -> {config.output_dir}"
        if is_current(stage, config):
            print(f"{label}: unchanged, skipped", flush=True)
        else:
            print(label, flush=True)
            status = subprocess.run([sys.executable, "-m", "gr2", stage, *stage_words]).returncode
            if status:
                print(f"gr2 run: stage {stage} ended with {status}; the same command goes on from here", file=sys.stderr)
                sys.exit(status if status > 0 else 1)
        if Path(config.output_dir).name == options.until:
            break
    print(f"gr2 run: {options.config} done in {time.monotonic() - started:.1f} s", flush=True)


def read_pipeline(path: Path) -> list[tuple[str, list[str], object]]:
    """[(stage, its command-line words, its parsed config)]; every stage is parsed before the first one runs."""
    recipe = read_yaml(path)
    if set(recipe) != {"stages"} or not isinstance(recipe["stages"], list):
        raise InputError(f"{path}: expected one key, 'stages', with a list of 'STAGE: FILE or mapping'")
    plan = []
    for number, entry in enumerate(recipe["stages"], start=1):
        if not isinstance(entry, dict) or len(entry) != 1 or next(iter(entry)) not in STAGES:
            raise InputError(f"{path}: stages entry {number}: expected 'STAGE: FILE or mapping', found {entry!r}")
        ((stage, source),) = entry.items()
        module = importlib.import_module(STAGES[stage][0])
        if isinstance(source, dict):
            words = mapping_words(source, f"{path}, stages entry {number}", module.Config)
        else:
            words = ["--config", str(path.parent / source)]
        plan.append((stage, words, parse(stage, module.Config, words, module.__doc__)))
    return plan
