"""What made a ranking, by the manifest beside it and by the record in the reranker's folder."""

from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.artifacts import MANIFEST, read_json
from gr2.rerankers import latent, rules
from gr2.rerankers.record import NETWORK, RECORD

FUSION, FUSED_TREES = "fusion.json", "trees.txt"  # files of `gr2 fit fusion`


def find_kind(name: str, path: str, ranking: pl.DataFrame) -> str:
    """`language model`, `reranker` (learned, too) or `reference` (a rule, or knows the answer).

    The manifest beside the file tells; without one, a reference is known by its usual name alone. InputError where the
    manifest names a folder that is not there, and nothing else says whether it has a language model.
    """
    file = Path(path).parent / MANIFEST
    manifest = read_json(file) if file.exists() else {}
    made = manifest.get("stage") == "rerank"
    reranker = manifest["config"]["reranker"] if made else name
    if "completion_tokens" in ranking.columns:
        return "language model"
    if made and reranker not in rules.NAMES and not Path(reranker).is_dir():
        expected = f"expected the folder of its reranker, {reranker}, which says whether it has a language model"
        raise InputError(f"{path}: {expected}; evaluate where `gr2 rerank` ran, or copy the folder here")
    if made and has_language_model(reranker):
        return "language model"
    knows_the_answer = any(Path(read).name == latent.FILE for read in manifest.get("inputs", ()))
    return "reference" if reranker in rules.NAMES or knows_the_answer else "reranker"


def has_language_model(folder: str | Path) -> bool:
    """Whether this folder is that of a language model, has one inside, or fuses rerankers one of which has."""
    kind, config = read_record(folder).get("kind"), Path(folder) / NETWORK
    if kind is None:
        return config.exists() and read_json(config).get("model_type") != "sasrec"
    if kind == "one_pass":  # it can be fitted without one, as a control
        return read_json(config).get("language_model") is not None
    return any(map(has_language_model, read_members(folder)))


def read_members(folder: str | Path) -> list[str]:
    """The rerankers that the one in this folder fuses: folders, and names of rules; none where it is no fusion."""
    if read_record(folder).get("kind") != "fusion":
        return []
    return [member["reranker"] for member in read_json(Path(folder) / FUSION)["members"]]


def read_record(folder: str | Path) -> dict:
    """Its reranker.json; empty for a name, a language model or SASRec."""
    file = Path(folder) / RECORD
    return read_json(file) if file.exists() else {}
