"""`semantic_ids.json` in a model's folder: which semantic IDs it was taught, checked wherever the model meets IDs again.

IDs that `gr2 sids --append` adds later are fine, and so are items that have left the catalogue: no other item ever gets an
ID that was taught for one.
"""

import hashlib
from pathlib import Path

from transformers import PreTrainedTokenizerBase, Trainer

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.artifacts import read_json, write_json
from gr2.files.sid_tokens import TOKEN
from gr2.packaged import resolve

FILE = "semantic_ids.json"
SAMPLE = 1000  # items whose IDs are written out, to be found again in a catalogue that has grown


def taught_ids(catalogue: Catalogue) -> dict:
    """`sha256` of all IDs by item, whatever their order; how many `items` and `levels`; and `sample`, the IDs of up to SAMPLE
    items: those whose ids have the smallest sha256.
    """
    ids = catalogue.sid
    text = "".join(f"{item_id}\t{ids[item_id]}\n" for item_id in sorted(ids))
    drawn = sorted(ids, key=lambda item_id: hashlib.sha256(item_id.encode()).digest())[:SAMPLE]
    return {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "items": len(ids),
        "levels": catalogue.levels,
        "sample": {item_id: ids[item_id] for item_id in drawn},
    }


def check_taught(
    name_or_path: str, tokenizer: PreTrainedTokenizerBase, catalogue: Catalogue, source: str
) -> dict | None:
    """What the model's `semantic_ids.json` says; InputError unless the model knows the catalogue's IDs, read from `source`.

    None for a model without that file, from before gr2 wrote it: it has the tokens, more is not known, and a line says so.
    """
    words = tokenizer.get_vocab()
    used = {token for sid in catalogue.sid.values() for token in TOKEN.findall(sid)}
    if unknown := sorted(used - set(words)):
        raise InputError(f"{name_or_path}: the model does not know {unknown[0]}, which {source} uses; run gr2 midtrain on "
                         "these IDs first")  # fmt: skip
    file = Path(resolve(name_or_path)) / FILE
    if not file.exists():
        print(
            f"gr2: {name_or_path} has no {FILE}: nobody can tell whether it was taught the IDs of {source}", flush=True
        )
        return None
    taught = read_json(file)
    if taught["sha256"] == taught_ids(catalogue)["sha256"]:
        return taught
    known = {item_id: sid for item_id, sid in taught["sample"].items() if item_id in catalogue.sid}
    other = [item_id for item_id, sid in known.items() if catalogue.sid[item_id] != sid]
    if other or not known:
        found = f"item '{other[0]}' is {catalogue.sid[other[0]]} there and {known[other[0]]} to the model" if other else (
            "none of the model's items is in it")  # fmt: skip
        raise InputError(f"{source}: the model {name_or_path} was taught other IDs ({found}): use the semantic_ids.parquet "
                         "that it was mid-trained on, or run gr2 midtrain again")  # fmt: skip
    return taught


def hand_on(trainer: Trainer, taught: dict | None) -> None:
    """Writes what a model was taught beside the model that its training has just written; only the main process does."""
    if taught and trainer.is_world_process_zero():
        write_json(Path(trainer.args.output_dir) / FILE, taught)
