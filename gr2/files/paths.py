"""Paths that a user gave: whether something is there, and that it is a file."""

from pathlib import Path

from gr2.errors import InputError

TABLES = (".parquet", ".jsonl", ".ndjson", ".csv", ".tsv")  # endings of files with rows and columns


def is_table(path: str | Path) -> bool:
    return table_ending(path) in TABLES


def table_ending(path: str | Path) -> str:
    path = Path(path)
    return Path(path.stem if path.suffix == ".gz" else path).suffix


def exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # too long for a name: an option's JSON
        return False


def refuse_folder(path: str | Path) -> None:
    if Path(path).is_dir():
        raise InputError(f"{path}: expected a file, found a folder")


def expect_file(path: str | Path, advice: str = "") -> None:
    """InputError for a folder, and where there is no file; `advice` then says what to do."""
    refuse_folder(path)
    if not exists(str(path)):
        raise InputError(f"{path}: no such file{advice}")
