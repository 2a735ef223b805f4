"""Which failures are one sentence: those of the machine. A fault of gr2 shows its traceback."""

import errno

import polars as pl
import pytest

from gr2.errors import describe_failure, name_disk_errors

FULL = "no space left on device; make room, and the same command goes on from here"


@pytest.mark.parametrize("error", [
    OSError(errno.ENOSPC, "No space left on device"),
    pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)"),
    RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 1600 vs 1558"),  # torch.save's
    pl.exceptions.ComputeError("parquet: File out of specification: Invalid thrift: transport error"),  # a footer
])  # fmt: skip
def test_every_librarys_full_disk_names_the_file(error):
    with pytest.raises(OSError) as failure, name_disk_errors("run/items.parquet"):
        raise error
    assert describe_failure(failure.value) == f"run/items.parquet: {FULL}"


@pytest.mark.parametrize("error", [
    KeyError("rows"),
    RuntimeError("[enforce fail at inline_container.cc:145] . PytorchStreamReader failed"),
    pl.exceptions.ColumnNotFoundError("slate_id"),
    ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
])  # fmt: skip
def test_any_other_error_stays_what_it_is(error):
    with pytest.raises(type(error)) as failure, name_disk_errors("run/items.parquet"):
        raise error
    assert failure.value is error


@pytest.mark.parametrize(("error", "sentence"), [
    (PermissionError(errno.EACCES, "Permission denied", "slates.parquet"), "slates.parquet: permission denied"),
    (OSError(errno.EIO, "Input/output error", "run"),
     "run: input/output error; mend the disk, and the same command goes on from here"),
    (MemoryError(), "memory ran out; expected smaller batches, or a larger machine (MemoryError)"),
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
     "memory ran out; expected smaller batches, or a larger machine (CUDA out of memory. Tried to allocate 2 GiB)"),
    (OSError("We couldn't connect to\nthe hub"), "We couldn't connect to the hub"),
    (KeyError("rows"), None),
])  # fmt: skip
def test_the_machines_failures_are_sentences(error, sentence):
    assert describe_failure(error) == sentence
