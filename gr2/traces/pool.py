"""Which slates are asked about next: all are in one pool, until each has an accepted trace or no try left.

No try is a barrier: a slate's second sample is requested while other slates wait for their first.
"""

import heapq

from gr2.errors import InputError
from gr2.files.slates import Slate


class Pool:
    """A slate waits, is in flight, or is closed. Of those that wait, the earliest in the file goes first.

    `rows` are an interrupted run's; after them the same slates wait as did then. Where two runs answered at once, the
    rows of the first to answer count; `left_out` is the number of the others.
    """

    def __init__(self, slates: list[Slate], tries: int, rows: list[dict]):
        self.slates = slates
        self.tries = tries
        self.index = {slate.slate_id: index for index, slate in enumerate(slates)}
        self.samples = [0] * len(slates)
        self.accepted: set[int] = set()
        self.rows: list[dict] = []
        self.waiting: list[int] = []  # a heap of indices
        self.closed = 0  # slates with an accepted trace, or no try left
        self.left_out = 0
        for row in rows:
            if self.is_next(row):
                self.add(row)
            else:
                self.left_out += 1
        self.waiting = [index for index in range(len(slates)) if self.is_open(index)]

    def is_open(self, index: int) -> bool:
        return index not in self.accepted and self.samples[index] < self.tries

    def is_next(self, row: dict) -> bool:
        """Whether it is the next sample of its slate; InputError for a slate of another file."""
        if row["slate_id"] not in self.index:
            complaint = f"slate '{row['slate_id']}' is none that this run asks about; delete the file to start again"
            raise InputError(f"traces.partial: {complaint}")
        index = self.index[row["slate_id"]]
        return self.is_open(index) and row["sample"] == self.samples[index]

    def take(self, room: int) -> list[tuple[Slate, int]]:
        """The next `room` slates, or as many as wait, each with the index of its sample; in flight until `add`."""
        indices = [heapq.heappop(self.waiting) for _ in range(min(room, len(self.waiting)))]
        return [(self.slates[index], self.samples[index]) for index in indices]

    def in_flight(self, slate_id: str) -> tuple[Slate, int]:
        """What `take` gave for this slate."""
        index = self.index[slate_id]
        return self.slates[index], self.samples[index]

    def add(self, row: dict) -> None:
        """Keeps a row of traces.jsonl; its slate waits again where it is still open."""
        index = self.index[row["slate_id"]]
        self.rows.append(row)
        self.samples[index] += 1
        if row["accepted"]:
            self.accepted.add(index)
        if self.is_open(index):
            heapq.heappush(self.waiting, index)
        else:
            self.closed += 1

    def sorted_rows(self) -> list[dict]:
        """By slate, in file order, then by sample; the order of the answers does not matter."""
        return sorted(self.rows, key=lambda row: (self.index[row["slate_id"]], row["sample"]))
