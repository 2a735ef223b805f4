"""`semantic_ids.json` in a model's folder: which semantic IDs it was taught, checked wherever it is used with IDs.

IDs that `gr2 sids --append` adds later are fine, and so are items that have left the catalogue: an ID that was taught
is never given to another item.
"""

import hashlib
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from transformers import PreTrainedTokenizerBase, Trainer

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.artifacts import read_json, write_json
from gr2.files.sid_tokens import TOKEN
from gr2.packaged_models import resolve

FILE = "semantic_ids.json"
SAMPLE = 1000  # items whose IDs are written out, to compare with a catalogue that has grown


def describe_ids(catalogue: Catalogue) -> dict:
    """`sha256` of all IDs in order of item id; the numbers of `items` and `levels`; `codes`, by level those that
    items have; and `sample`, the IDs of SAMPLE items or fewer, those whose ids have the smallest sha256.
    """
    ids = catalogue.sid
    text = "".join(f"{item_id}\t{ids[item_id]}\n" for item_id in sorted(ids))
    sample = sorted(ids, key=lambda item_id: hashlib.sha256(item_id.encode()).digest())[:SAMPLE]
    return {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "items": len(ids),
        "levels": catalogue.levels,
        "codes": list_used_codes(catalogue),
        "sample": {item_id: ids[item_id] for item_id in sample},
    }


def list_used_codes(catalogue: Catalogue) -> list[list[int]]:
    """By level, the codes that an item has, ascending."""
    return [sorted(set(codes)) for codes in zip(*catalogue.codes.values(), strict=True)]


def check_taught(
    name_or_path: str, tokenizer: PreTrainedTokenizerBase, catalogue: Catalogue, source: str
) -> dict | None:
    """The model's `semantic_ids.json`; InputError unless the model knows the catalogue's IDs, read from `source`.

    None, and a warning, for a model of an older gr2 that lacks the file: it has the tokens, more is not known.
    """
    used = {token for sid in catalogue.sid.values() for token in TOKEN.findall(sid)}
    if unknown := sorted(used - set(tokenizer.get_vocab())):
        use = f"{unknown[0]}, which {source} uses"
        raise InputError(f"{name_or_path}: the model does not know {use}; run gr2 midtrain on these IDs first")
    known_ids = read_id_record(name_or_path)
    if known_ids is None:
        print(f"gr2: {name_or_path} has no {FILE}: cannot check that it was taught the IDs of {source}", flush=True)
        return None
    if known_ids["sha256"] == describe_ids(catalogue)["sha256"]:
        return known_ids
    known = {item_id: sid for item_id, sid in known_ids["sample"].items() if item_id in catalogue.sid}
    other = [item_id for item_id, sid in known.items() if catalogue.sid[item_id] != sid]
    if other or not known:
        difference = "none of the model's items is in it"
        if other:
            here, taught_id = catalogue.sid[other[0]], known[other[0]]
            difference = f"item '{other[0]}' is {here} in the file and {taught_id} in the model"
        advice = "use the semantic_ids.parquet that it was mid-trained on, or run gr2 midtrain again"
        raise InputError(f"{source}: the model {name_or_path} was taught other IDs ({difference}): {advice}")
    return known_ids


def read_id_record(name_or_path: str) -> dict | None:
    """The `semantic_ids.json` of a model's folder or of a model on the hub; None where it has none."""
    folder = Path(resolve(name_or_path))
    if folder.is_dir():
        file = folder / FILE
        return read_json(file) if file.exists() else None
    try:
        return read_json(Path(hf_hub_download(name_or_path, FILE)))
    except EntryNotFoundError:
        return None


def copy_id_record(trainer: Trainer, known_ids: dict | None) -> None:
    """Writes `semantic_ids.json` beside the model that a training has just written; only the main process does."""
    if known_ids and trainer.is_world_process_zero():
        write_json(Path(trainer.args.output_dir) / FILE, known_ids)
