"""One process at a time in an output folder."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gr2.errors import InputError

LOCK = ".lock"


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Makes the folder and holds it for this process; InputError where another process does.

    The lock ends with the process, however that ends. A folder that was made and stays empty is removed.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = None
    while lock is None:
        make(folder)
        lock = lock_file(folder / LOCK)
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        lock.close()
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(path for path in (folder, *folder.parents) if path.is_symlink() or path.exists())
        raise InputError(f"--output_dir {folder}: expected a folder, but {file} is a file") from None


def lock_file(path: Path) -> IO | None:
    """The open, locked file; None where the process that held it has just removed it."""
    try:
        file = open(path, "a")  # noqa: SIM115 - it is open as long as it is locked
    except FileNotFoundError:
        return None
    try:  # a lock of this process, which no forked worker can inherit and hold on to
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except (BlockingIOError, PermissionError):
        file.close()
        advice = "wait for it to end, or stop it"
        raise InputError(f"--output_dir {path.parent}: expected no other process that writes there; {advice}") from None
    except FileNotFoundError:
        pass
    except OSError as error:
        advice = "make sure that no other process writes there"
        print(f"gr2: {path}: this file system has no locks ({error.strerror}); {advice}", file=sys.stderr)
        return file
    file.close()
    return None
