"""Who may write to an output folder, and what happens to the work that already lies there.

A folder is unfinished (`stage.json` holds the plan, so that the same command resumes), finished (`manifest.json`), or
neither. Work of another plan is moved to `NAME.old-N`. Finished work of the same configuration is replaced, but only
once the new work is finished: until then it is in `.replaced`.
"""

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gr2.errors import InputError
from gr2.files import artifacts
from gr2.runner import environment
from gr2.runner.lock import LOCK

STATE, REPLACED = "stage.json", ".replaced"
BESIDE, PROCESSES = "beside", "processes"
SPEED = ("concurrency", "deadline", "workers", "gpus_per_worker")  # options that change how fast, not what


@dataclass(frozen=True)
class Claim:
    """`fresh`: the folder held nothing of this plan. `aside`: where its earlier work is now, if any."""

    fresh: bool
    aside: Path | None = None


def claim(folder: Path, plan: dict) -> Claim:
    """Marks the locked folder as unfinished work of this plan; work of another plan is moved away first."""
    state, manifest = folder / STATE, folder / artifacts.MANIFEST
    begun = artifacts.read_json(state) if state.exists() else None
    if begun is not None and without_speed(begun) == without_speed(plan):
        refuse_other_processes(folder, begun)
        artifacts.write_json(state, begun | plan | {PROCESSES: environment.count_processes()})  # who goes on, and how
        remove_torn(folder)
        set_replaced_aside(folder)  # a kill may have come between
        return Claim(fresh=False)
    aside = None
    if begun is not None:
        aside = move_aside(folder, entries(folder), plan, "unfinished work of another configuration, code or input")
    elif manifest.exists():
        remove(folder / REPLACED)
        finished = artifacts.read_manifest(manifest)
        if (finished.get("stage"), finished.get("options")) != (plan["stage"], plan["options"]):
            aside = move_aside(folder, entries(folder), plan, "finished work of another configuration")
    elif unfinished(folder):
        aside = move_aside(folder, unfinished(folder), plan, "unfinished work of an unknown configuration")
    remove_torn(folder)
    outputs = artifacts.read_manifest(manifest)["outputs"] if manifest.exists() else {}
    refuse_inputs(folder, [folder / name for name in outputs], plan)
    beside = {name: stamp for name, stamp in stamps(folder).items() if name not in outputs}
    artifacts.write_json(state, plan | {BESIDE: beside, PROCESSES: environment.count_processes()})
    set_replaced_aside(folder)
    return Claim(fresh=True, aside=aside)


def without_speed(plan: dict) -> dict:
    """What must be the same for a stage to go on: the plan, apart from SPEED."""
    options = {name: words for name, words in plan["options"].items() if name not in SPEED}
    return {name: value for name, value in plan.items() if name not in (BESIDE, PROCESSES)} | {"options": options}


def refuse_other_processes(folder: Path, begun: dict) -> None:
    """InputError where another number of processes made the checkpoints: a step then reads another number of examples,
    and the trainer would skip too many or too few.
    """
    before, now = begun.get(PROCESSES), environment.count_processes()
    if before not in (None, now) and any(folder.glob("checkpoint-*")):
        advice = f"start it on {before}, or remove the checkpoints to begin again"
        raise InputError(
            f"--output_dir {folder}: {before} processes made its checkpoints, this run has {now}; {advice}"
        )


def release(folder: Path, claim: Claim) -> None:
    """Removes a fresh claim after an InputError, and restores the folder.

    Work to go on from, such as the answers before a server died, stays, bound to its plan.
    """
    remove_torn(folder)
    if unfinished(folder):
        return
    for name in written(folder):
        (folder / name).unlink()
        remove_empty_parents(folder / name, folder)
    (folder / STATE).unlink()
    for source in filter(None, (folder / REPLACED, claim.aside)):
        if source.exists():
            move(source.iterdir(), source, folder)
            source.rmdir()
            back = f"{source} was moved back, " if source == claim.aside else ""
            print(f"gr2: {back}{folder} is as it was", file=sys.stderr)


def written(folder: Path) -> list[str]:
    """The names of the finished files that the stage wrote, without those that were there before it."""
    beside = artifacts.read_json(folder / STATE).get(BESIDE, {})
    return [name for name, stamp in stamps(folder).items() if beside.get(name) != stamp]


def stamps(folder: Path) -> dict[str, list[int]]:
    """Size and time of every file below; a rewritten file has another time."""
    files = [*artifacts.files_below(folder), *folder.glob(artifacts.CARD)]
    stats = {str(file.relative_to(folder)): file.stat() for file in files}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def unfinished(folder: Path) -> list[Path]:
    """What only a stage that goes on would read: partial files and checkpoints."""
    return [path for path in folder.iterdir() if path.suffix == ".partial" or path.name.startswith("checkpoint-")]


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != LOCK]


def move_aside(folder: Path, paths: list[Path], plan: dict, what: str) -> Path:
    refuse_inputs(folder, paths, plan)
    number = next(n for n in range(1, 1_000_000) if not number_aside(folder, n).exists())
    aside = number_aside(folder, number)
    aside.mkdir()
    move(paths, folder, aside)
    print(f"gr2: {folder} held {what}; it is now {aside}", file=sys.stderr)
    return aside


def number_aside(folder: Path, number: int) -> Path:
    folder = folder.resolve() if folder.name in ("", "..") else folder
    return folder.with_name(f"{folder.name}.old-{number}")


def set_replaced_aside(folder: Path) -> None:
    """Moves a finished stage's outputs and manifest into `.replaced`."""
    manifest = folder / artifacts.MANIFEST
    if manifest.exists():
        outputs = [folder / name for name in artifacts.read_manifest(manifest)["outputs"]]
        move([*outputs, manifest], folder, folder / REPLACED)


def move(paths: Iterable[Path], source: Path, target: Path) -> None:
    """Moves what exists of `paths` from one folder to another; the file that says what the rest is goes last."""
    marks = (STATE, artifacts.MANIFEST)
    for path in sorted(paths, key=lambda path: (path.name in marks, path.name == STATE, path)):
        if path.exists() or path.is_symlink():
            moved = target / path.relative_to(source)
            moved.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, moved)
            remove_empty_parents(path, source)


def refuse_inputs(folder: Path, paths: list[Path], plan: dict) -> None:
    """InputError where the stage reads from a folder that would be moved away."""
    moved = [path.resolve() for path in paths]
    for name in plan["inputs"]:
        if any(Path(name).resolve().is_relative_to(path) for path in moved):
            holds = f"this one holds the input {name}, which would be moved away"
            raise InputError(f"--output_dir {folder}: expected another folder; {holds}")


def remove_torn(folder: Path) -> None:
    """Removes what a kill left of a file that was being written."""
    for torn in folder.glob(".*.partial"):
        remove(torn)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_empty_parents(path: Path, folder: Path) -> None:
    for parent in path.parents:
        if parent == folder or any(parent.iterdir()):
            return
        parent.rmdir()
