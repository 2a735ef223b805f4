"""Tables in object stores, read by URL through fsspec, whose packages know the stores (s3fs, gcsfs, adlfs)."""

from pathlib import Path

from gr2.errors import InputError


def is_url(path: str | Path) -> bool:
    """`s3://bucket/items.parquet`, not `C:/items.parquet`."""
    return isinstance(path, str) and "://" in path


def fetch(url: str) -> bytes:
    """The content of a file; InputError where it cannot be read, or the store's package is missing."""
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            return file.read()
    except (ImportError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{url}: cannot be read ({reason})") from None


def refuse_url(option: str, path: str) -> None:
    """InputError for a URL where files have to appear whole, under a lock."""
    if is_url(path):
        raise InputError(
            f"--{option} {path}: expected a local folder; copy it when it is finished, see docs/cluster.md"
        )
