"""SFT's examples as a table."""

from collections.abc import Callable

import pyarrow
from datasets import Dataset

from gr2.processes import map_chunks
from gr2.sft.examples import Example

IDS, WEIGHTS = pyarrow.list_(pyarrow.int32()), pyarrow.list_(pyarrow.float32())
LESSON = {"place": pyarrow.int32(), "among": IDS, "shares": WEIGHTS, "weight": pyarrow.float32()}
TYPES = {"input_ids": IDS, "labels": IDS, "weights": WEIGHTS, "lessons": pyarrow.list_(pyarrow.struct(LESSON))}


def encode_all(examples: list[Example], encode: Callable[[Example], dict[str, list]]) -> Dataset:
    """The columns that `encode` makes of every example, on all cores; in 32 bits, as a batch has its numbers."""

    def encode_chunk(chunk: list[Example]) -> pyarrow.Table:
        rows = [encode(example) for example in chunk]
        return pyarrow.Table.from_pylist(rows, pyarrow.schema({name: TYPES[name] for name in rows[0]}))

    return Dataset(pyarrow.concat_tables(map_chunks(encode_chunk, examples, "encoding")))
