"""Files appear whole or not at all, and every output folder says how it was made.

Every stage calls `write_whole` (or one of the small writers on top of it); `manifest.json`, written last, marks an
output folder as finished and lets the next reader notice a file that changed behind its back.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gr2.errors import InputError, name_disk_errors
from gr2.files.paths import expect_file

MANIFEST = "manifest.json"
CARD = "README.md"  # what people read of a model; no stage does
RATES = "training_rates.json"  # how fast a training was; no part of what it made
UMASK = os.umask(0o077)  # can only be read by setting it
os.umask(UMASK)


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; on success it is fsynced and renamed to `path`, on error removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with name_disk_errors(path):
            yield aside
            aside.chmod(0o666 & ~UMASK)  # safetensors writes files that only their owner can read
            _fsync(aside)
            os.replace(aside, path)
            _fsync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def write_model_whole(folder: str | Path) -> Iterator[Path]:
    """Yields an empty folder to save a model in, then moves its files into `folder`, `config.json` last.

    Nothing can load a model folder that has no `config.json`, so a half-moved model is never mistaken for one.
    """
    folder = Path(folder)
    aside = folder / ".model.partial"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    with name_disk_errors(folder):
        yield aside
    (folder / "config.json").unlink(missing_ok=True)
    for file in sorted(aside.iterdir(), key=lambda file: file.name == "config.json"):
        if file.is_file():
            file.chmod(0o666 & ~UMASK)
        _fsync(file)
        os.replace(file, folder / file.name)
    aside.rmdir()
    _fsync(folder)


def stage_of(file: str | Path) -> Path | None:
    """The folder of the finished stage that holds this file; None outside of one."""
    return next((folder for folder in Path(file).parents if (folder / MANIFEST).exists()), None)


def find_in_stages(run: str | Path, name: str) -> list[Path]:
    """The files of this name in a run's stage folders, sorted; not in those that were moved aside (NAME.old-1)."""
    files = sorted(Path(run).glob(f"*/{name}"))
    return [file for file in files if not re.search(r"\.old-\d+$", file.parent.name)]


def write_text(path: str | Path, text: str) -> None:
    with write_whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> dict:
    """Reads one JSON object; InputError where the file is missing or holds anything else."""
    expect_file(path)
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected a JSON file, but {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found {json.dumps(value):.40}")
    return value


def read_manifest(path: str | Path) -> dict:
    """Reads a manifest, or an unfinished stage's plan; InputError where it lacks what gr2 looks up in one.

    `input_paths` are missing in manifests of gr2 0.1 and empty then.
    """
    plan = {} if Path(path).name == MANIFEST else {"outputs": {}}
    manifest = {"inputs": {}, "input_paths": []} | plan | read_json(path)
    for name, kind in (("outputs", dict), ("inputs", dict), ("input_paths", list)):
        values = manifest.get(name)
        texts = [*values, *values.values()] if isinstance(values, dict) else values
        if not isinstance(values, kind) or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{path}: '{name}': expected what gr2 writes; delete the file to run its stage again")
    return manifest


def read_lines(path: str | Path, needed: tuple[str, ...]) -> list[dict]:
    """All objects of a JSON-lines file, see `each_line`."""
    return list(each_line(path, needed))


def each_line(path: str | Path, needed: tuple[str, ...]) -> Iterator[dict]:
    """The objects of a finished JSON-lines file, which is only read; InputError names the row that lacks a key."""
    expect_file(path)
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file):
            try:
                row = json.loads(text)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}: row {number}: expected a JSON object, but {error}") from None
            missing = [name for name in needed if not isinstance(row, dict) or name not in row]
            if missing:
                raise InputError(f"{path}: row {number}, column '{missing[0]}': expected a value, found none")
            yield row


def append_lines(path: str | Path, lines: list[str]) -> None:
    """Appends lines and fsyncs. A kill may tear the last line."""
    with name_disk_errors(path), open(path, "a", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(path: str | Path) -> list[Path]:
    """The files of an artifact: the file itself, or a folder's finished files (no checkpoints, rates, partial ones).

    A model's card is not among them: what is made of the model does not depend on it.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and _is_finished(file.relative_to(path)))


def check_against_manifest(file: Path, digest: str) -> None:
    """Raises InputError if the manifest of the file's folder, or of one above, knows the file under another sha256."""
    for folder in file.parents:
        manifest = folder / MANIFEST
        if not manifest.exists():
            continue
        recorded = read_manifest(manifest)["outputs"].get(str(file.relative_to(folder)), digest)
        if recorded != digest:
            raise InputError(
                f"{file}: its sha256 is {digest[:12]}…, but {manifest} recorded {recorded[:12]}…: the file changed "
                f"after it was made. Run its stage again, or delete {manifest} if the change was meant."
            )


def check_weights(file: Path) -> None:
    """InputError for a .safetensors file that was cut short or is none."""
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, "numpy"):
                pass
        except SafetensorError as error:
            raise InputError(f"{file}: expected a whole safetensors file, but {error}") from None


def _is_finished(file: Path) -> bool:
    if file.name in (MANIFEST, CARD, RATES, "stage.json"):
        return False
    return not any(part.startswith((".", "checkpoint-")) or part.endswith(".partial") for part in file.parts)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
