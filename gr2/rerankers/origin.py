"""Which reranker a rankings.parquet is of, by the manifest beside it."""

from collections.abc import Iterable
from pathlib import Path

from gr2.errors import InputError
from gr2.files.artifacts import MANIFEST, read_manifest, sha256
from gr2.rerankers.rules import NAMES


def find_origin(path: str | Path) -> dict | None:
    """The manifest of the `gr2 rerank` that wrote the file; None where no such manifest stands beside it."""
    file = Path(path).parent / MANIFEST
    manifest = read_manifest(file) if file.exists() else {}
    wrote_it = manifest.get("stage") == "rerank" and Path(path).name in manifest["outputs"]
    return manifest if wrote_it else None


def check_origin(origin: dict, where: str, reranker: str, files: dict[str, str]) -> None:
    """InputError unless the rankings are of the rule `reranker`, or of a folder with these files, wherever it lay.

    origin: of `find_origin`; where: the option and the file; files: as `digests` gives them.
    """
    found = origin["config"]["reranker"]
    if reranker in NAMES or found in NAMES:
        same = found == reranker
    else:
        inside = [file for file in origin["inputs"] if Path(file).is_relative_to(found)]
        read = {str(Path(file).relative_to(found)): origin["inputs"][file] for file in inside}
        # Files that are new in the folder, such as these rankings, were not read.
        same = bool(read) and all(files.get(name) == digest for name, digest in read.items())
    if not same:
        other = "another model in the same folder" if Path(found).resolve() == Path(reranker).resolve() else found
        raise InputError(f"{where}: expected rankings of {reranker}, found those of {other}")


def refuse_earlier_slates(paths: Iterable[str], slates: str) -> None:
    """InputError where rankings were made of this slates file before it was changed.

    Their ids and candidates may fit all the same, but not the order and the histories that the reranker saw.
    """
    now = Path(slates).resolve()
    digest = sha256(now) if now.exists() else None  # not of a URL
    for path in paths:
        read = (find_origin(path) or {"inputs": {}})["inputs"]
        if any(Path(file).resolve() == now and read[file] != digest for file in read):
            raise InputError(f"{path}: expected rankings of {slates} as it is now; run `gr2 rerank` again")
