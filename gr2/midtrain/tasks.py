"""The texts of mid-training, as (text, in_loss) pieces: only pieces with `in_loss` have labels.

The four tasks of OneRec-Think (2510.11639) and GR2 (2602.07774): sequential preference (history of IDs -> next ID),
itemic dense captioning (ID -> text, and text -> ID), persona grounding (a history of IDs interleaved with text),
general language. The wording is ours. `read_catalogue` has neutralised item text; general text is neutralised here.
"""

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path

from gr2.data.catalogue import Catalogue
from gr2.data.text import neutralise
from gr2.errors import InputError
from gr2.files.sid_tokens import SID
from gr2.language_model.sequences import HISTORY

Pieces = list[tuple[str, bool]]

PERSONA = "Profile:"


def sequential(histories: list[list[str]], catalogue: Catalogue, window: int, rng: random.Random) -> Iterator[Pieces]:
    """Each user's items cut into windows at a random offset; every ID of a window but its first is learned."""
    for part in cut_windows(histories, window, rng):
        first, *rest = [catalogue.sid[item_id] for item_id in part]
        if rest:
            yield [(HISTORY, False), (first, False), *((sid, True) for sid in rest)]


def persona(histories: list[list[str]], catalogue: Catalogue, window: int, rng: random.Random) -> Iterator[Pieces]:
    """The same windows with each ID followed by its item's text; everything but the first ID is learned."""
    for part in cut_windows(histories, window, rng):
        pieces = [(PERSONA, False)]
        for item_id in part:
            pieces += [(catalogue.sid[item_id], len(pieces) > 1), (f" {describe(item_id, catalogue)};", True)]
        yield pieces


def cut_windows(histories: list[list[str]], window: int, rng: random.Random) -> Iterator[list[str]]:
    """Every history in parts of `window` items, the first of them cut short at random."""
    for history in histories:
        offset = rng.randrange(min(window, len(history)))
        for start in range(-offset, len(history), window):
            part = history[max(0, start) : start + window]
            if part:
                yield part


def captions(item_ids: list[str], catalogue: Catalogue) -> Iterator[Pieces]:
    """`ID is "Title", Category > Category. Description` and back."""
    for item_id in item_ids:
        text, more = describe(item_id, catalogue), catalogue.description.get(item_id, "")
        yield [(catalogue.sid[item_id], False), (" is", False), (f" {text}." + (f" {more}" if more else ""), True)]
        yield [(f"The item {text} is ", False), (catalogue.sid[item_id], True)]


def bpe_texts(catalogue: Catalogue, text: str) -> list[str]:
    """What a BPE is trained on: captions without their IDs, and `text`, once per caption and at least 100 times."""
    no_sids = dataclasses.replace(catalogue, sid=dict.fromkeys(catalogue.sid, ""))
    texts = ["".join(part for part, _ in document) for document in captions(list(catalogue.title), no_sids)]
    return texts + max(100, len(texts)) * [SID.sub("", text)]


def describe(item_id: str, catalogue: Catalogue) -> str:
    category = catalogue.category[item_id]
    return f'"{catalogue.title[item_id]}"' + (f", {category}" if category else "")


def general(source: str, rng: random.Random) -> Iterator[Pieces]:
    """The paragraphs of a text file, or the column `text` of a data set's train split (folder or hub id), streamed and
    shuffled within a buffer. InputError if `source` is neither.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    try:
        if Path(source).is_file():
            rows = load_dataset("text", data_files=source, split="train", streaming=True, sample_by="paragraph")
        else:
            rows = load_dataset(source, split="train", streaming=True)
    except (OSError, ValueError, DatasetNotFoundError) as error:
        expected = f"a text file, or a data set that loads ({str(error).splitlines()[0]})"
        raise InputError(f"--general_text {source}: expected {expected}") from None
    for row in rows.shuffle(seed=rng.randrange(2**32), buffer_size=1000):
        if "text" not in row:
            raise InputError(f"--general_text {source}: expected a column 'text', found {', '.join(row)}")
        if row["text"].strip():
            yield [(neutralise(row["text"]), True)]
