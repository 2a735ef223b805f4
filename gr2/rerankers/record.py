"""`reranker.json`: the kind of reranker in a folder of `gr2 fit`, the items and semantic IDs that it was fitted on, and
whether it needs the retriever's scores.

A folder is opened by this record, never by whichever file is found first.
"""

import hashlib
from pathlib import Path

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.artifacts import files_below, read_json, sha256, write_json
from gr2.files.items import order_digest
from gr2.rerankers.rules import NAMES

RECORD = "reranker.json"
FILES = {"blend": "blend.json", "lambdamart": "model.txt", "fusion": "fusion.json", "latent": "latent.safetensors"}
NETWORK = "config.json"  # the file of every other kind
MODEL_TYPES = dict.fromkeys(("glorank", "degre", "goalrank"), "list_writer")
MODEL_TYPES |= {"prm": "prm", "one_pass": "one_pass", "evaluator": "lookahead_evaluator"}


def write_record(folder: str | Path, kind: str, catalogue: Catalogue | None = None, scores: bool = False) -> None:
    """To be written after the model; `catalogue`: the one that a list writer or an evaluator was fitted on; scores:
    whether it reads the candidates' scores, and was fitted on slates that all have them.
    """
    fitted_on = {"semantic_ids": ids_digest(catalogue)} if catalogue else {}
    fitted_on |= {"scores": True} if scores else {}
    write_json(Path(folder) / RECORD, {"kind": kind, **fitted_on})


def expect_folder(name_or_folder: str) -> None:
    """InputError for what is neither a rule nor a folder."""
    if name_or_folder not in NAMES and not Path(name_or_folder).is_dir():
        expected = f"{', '.join(NAMES)}, or a folder of `gr2 fit`, `gr2 sasrec` or a language model"
        raise InputError(f"--reranker {name_or_folder}: expected {expected}")


def kind_of(folder: str | Path) -> str:
    """A kind of `gr2 fit`, `latent`, `sasrec` or `language model`.

    InputError where the folder holds no reranker, the files of two, or a model of `gr2 fit` without its record.
    """
    folder = Path(folder)
    found = [name for name in (*FILES.values(), NETWORK) if (folder / name).exists()]
    if len(found) > 1:
        files = ", ".join(found)
        raise InputError(f"{folder}: it holds the files of two rerankers ({files}); make one of them elsewhere")
    if not found:
        raise InputError(f"{folder}: no reranker; expected a folder of `gr2 fit`, `gr2 sasrec` or a language model")
    model_type = read_json(folder / NETWORK).get("model_type") if found == [NETWORK] else None
    if (folder / RECORD).exists():
        kind = read_json(folder / RECORD).get("kind")
        if kind not in {*FILES, *MODEL_TYPES}:
            raise InputError(f"{folder / RECORD}: expected a kind of `gr2 fit`, found {kind!r}")
        if [FILES.get(kind, NETWORK)] != found or MODEL_TYPES.get(kind) != model_type:
            mixed = f"{RECORD} says {kind}, but {found[0]} is another model's"
            raise InputError(f"{folder}: {mixed}; run `gr2 fit` in an empty folder")
        return kind
    if found == [FILES["latent"]]:
        return "latent"
    if found != [NETWORK] or model_type in MODEL_TYPES.values():
        raise InputError(f"{folder}: {RECORD} is missing; run `gr2 fit` again")
    return "sasrec" if model_type == "sasrec" else "language model"


def needs_scores(name_or_folder: str | Path) -> bool:
    """Whether a reranker was fitted on slates with scores, and so ranks worse without; of an older one nobody knows."""
    record = Path(name_or_folder) / RECORD
    return record.exists() and read_json(record).get("scores", False)


def check_kind(folder: str | Path, kind: str, option: str) -> None:
    """InputError unless the folder that `--option` names is of this kind."""
    found = kind_of(folder)
    if found != kind:
        raise InputError(f"--{option} {folder}: expected a folder of `gr2 fit {kind}`, found {found}")


def check_ids(folder: str | Path, catalogue: Catalogue) -> None:
    """InputError where the folder's model was fitted on other items, another order of them, or other semantic IDs."""
    if read_json(Path(folder) / RECORD).get("semantic_ids") != ids_digest(catalogue):
        raise InputError(f"{folder}: it was fitted on other items or semantic IDs than the ones given; fit it again")


def ids_digest(catalogue: Catalogue) -> str:
    """SHA-256 of every item's semantic ID, in the items' order."""
    digest = hashlib.sha256(order_digest(catalogue.item_ids).encode())
    for item_id in catalogue.item_ids:
        digest.update(f"\n{catalogue.codes[item_id]}".encode())
    return digest.hexdigest()


def digests(name_or_folder: str) -> dict[str, str]:
    """sha256 of every file of a reranker's folder, by its path inside; of a rule none."""
    if name_or_folder in NAMES:
        return {}
    return {str(file.relative_to(name_or_folder)): sha256(file) for file in files_below(name_or_folder)}


def version_of(name_or_folder: str) -> str:
    """A rule's name; of a folder the first 12 digits of a SHA-256 over its files' names and contents, so that the same
    model has the same version wherever it lies and whenever it was made.
    """
    if name_or_folder in NAMES:
        return name_or_folder
    files = [f"{file} {digest}" for file, digest in digests(name_or_folder).items()]
    return hashlib.sha256("\n".join(files).encode()).hexdigest()[:12]
