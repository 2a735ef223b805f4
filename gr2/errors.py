"""Errors that the command line prints as one sentence: what the user can mend (exit 2), a failing machine (exit 1)."""

import difflib
import errno
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

GOES_ON = "the same command goes on from here"
# What to do about errors of a disk.
ADVICE = {
    errno.ENOSPC: f"; make room, and {GOES_ON}",
    errno.EDQUOT: f"; make room, and {GOES_ON}",
    errno.EFBIG: f"; raise the limit on the size of files (ulimit -f), and {GOES_ON}",
    errno.EIO: f"; mend the disk, and {GOES_ON}",
    errno.EROFS: "; choose a folder that can be written to",
}


class InputError(ValueError):
    """Wrong input or arguments. The message names the file, row and column and says what was expected."""


class ServiceError(ConnectionError):
    """A server or a worker that gr2 asked failed. What was answered is kept: the same command goes on from there."""


def did_you_mean(word: str, known: Collection[str], cutoff: float = 0.6) -> str:
    """The end of a sentence on an unknown word: `; did you mean 'rerank'?`, empty if none of the known is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return f"; did you mean '{near[0]}'?" if near else ""


@contextmanager
def name_disk_errors(path: str | Path) -> Iterator[None]:
    """Where the disk takes no more, raises an OSError that names `path`; the libraries' own errors name no file."""
    try:
        yield
    except Exception as error:
        number = disk_error(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def disk_error(error: Exception) -> int | None:
    """The number of an error of the disk, as the libraries that write files report it."""
    if isinstance(error, OSError):
        return error.errno if error.errno in ADVICE else None
    silent = (r"(?s)inline_container.*unexpected pos", "Invalid thrift: transport error")
    if any(re.search(text, str(error)) for text in silent):  # torch, and polars at a file's end, do not say why
        return errno.ENOSPC
    number = re.search(r"\(os error (\d+)\)", str(error))  # polars, safetensors
    return int(number[1]) if number else None


def describe_failure(error: Exception) -> str | None:
    """A sentence where disk, network, memory or a damaged file failed; None for a fault of gr2: show its traceback."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}{ADVICE.get(error.errno, '')}"
    if isinstance(error, MemoryError) or re.search("out of memory|can't allocate memory", text):
        return f"memory ran out; expected smaller batches, or a larger machine ({text:.200})"
    library = type(error).__module__.partition(".")[0]
    damaged = type(error).__name__ == "SafetensorError" or (library == "polars" and "io error" in text.lower())
    return text if isinstance(error, OSError) or damaged or disk_error(error) else None
