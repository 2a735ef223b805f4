"""Writes lists with the program of this folder. Needs numpy and onnxruntime, and nothing of gr2.

writer = ListWriter("folder")
lists = writer.write(histories, candidates)
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

NONE = -1  # padding


class ListWriter:
    def __init__(self, folder: str | Path, threads: int = 1):
        folder = Path(folder)
        self.config = json.loads((folder / "program.json").read_text(encoding="utf-8"))
        item_ids = json.loads((folder / "items.json").read_text(encoding="utf-8"))
        self.rows = {item_id: row for row, item_id in enumerate(item_ids)}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(folder / "program.onnx", options)

    def write(self, histories: Sequence[Sequence[str]], candidates: Sequence[Sequence[str]]) -> list[list[str]]:
        """A list for each request, best first: `list_size` of its candidates, or all where there are fewer.

        histories: the item ids of each user, oldest first; those that the program does not know are left out.
        candidates: the item ids to choose from, in any order. ValueError for candidates that are unknown, given twice
        or missing.
        """
        if len(histories) != len(candidates):
            raise ValueError(f"expected a history for each request, found {len(histories)} for {len(candidates)}")
        for number, item_ids in enumerate(candidates):
            self.check(number, item_ids)
        if not candidates:
            return []
        longest = self.config["history"]
        known = [[self.rows[item_id] for item_id in history if item_id in self.rows] for history in histories]
        read = pad([rows[: -longest - 1 : -1] for rows in known], min(longest, 1))
        indices = pad([[self.rows[item_id] for item_id in item_ids] for item_ids in candidates], 1)
        (lists,) = self.session.run(["lists"], {"history": read, "candidates": indices})
        return [
            [item_ids[index] for index in row if index != NONE] for item_ids, row in zip(candidates, lists, strict=True)
        ]

    def check(self, number: int, item_ids: Sequence[str]) -> None:
        if not item_ids:
            raise ValueError(f"request {number}: expected candidates, found none")
        unknown = [item_id for item_id in item_ids if item_id not in self.rows]
        if unknown:
            raise ValueError(f"request {number}: candidate {unknown[0]!r}: expected an item of items.json")
        if len(set(item_ids)) < len(item_ids):
            twice = next(item_id for item_id in item_ids if list(item_ids).count(item_id) > 1)
            raise ValueError(f"request {number}: candidate {twice!r}: expected once, found again")


def pad(rows: list[list[int]], least: int) -> np.ndarray:
    """Rows as int64 [n, width]; width: the longest row, or `least`."""
    table = np.full((len(rows), max(least, *map(len, rows))), NONE)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table
