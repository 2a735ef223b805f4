"""Which slates are asked next: all of them in one pool, until each has an accepted trace or used up its tries.

No try is a barrier: a slate's second sample is asked for while other slates wait for their first.
"""

import heapq

from gr2.errors import InputError
from gr2.files.slates import Slate


class Pool:
    """A slate waits, is in flight, or is closed. Of those that wait the earliest in the file goes first.

    `rows` are an interrupted run's; what waits after them is the same as it was then. Of two runs that answered at once
    the rows of the first to answer count; `left_out` is how many that leaves out.
    """

    def __init__(self, slates: list[Slate], tries: int, rows: list[dict]):
        self.slates = slates
        self.tries = tries
        self.place = {slate.slate_id: place for place, slate in enumerate(slates)}
        self.samples = [0] * len(slates)
        self.accepted: set[int] = set()
        self.rows: list[dict] = []
        self.waiting: list[int] = []  # a heap of places
        self.closed = 0  # slates with an accepted trace, or with no try left
        self.left_out = 0
        for row in rows:
            if self.is_next(row):
                self.answered(row)
            else:
                self.left_out += 1
        self.waiting = [place for place in range(len(slates)) if self.is_open(place)]

    def is_open(self, place: int) -> bool:
        return place not in self.accepted and self.samples[place] < self.tries

    def is_next(self, row: dict) -> bool:
        """Whether it is the sample that its slate asks for; InputError for a slate of another file."""
        if row["slate_id"] not in self.place:
            raise InputError(f"traces.partial: slate '{row['slate_id']}' is none that this run asks about; delete the file "
                             "to start again")  # fmt: skip
        place = self.place[row["slate_id"]]
        return self.is_open(place) and row["sample"] == self.samples[place]

    def take(self, room: int) -> list[tuple[dict, int]]:
        """The next (slate, number of its sample), `room` at most; they are in flight until `answered`."""
        places = [heapq.heappop(self.waiting) for _ in range(min(room, len(self.waiting)))]
        return [(self.slates[place], self.samples[place]) for place in places]

    def in_flight(self, slate_id: str) -> tuple[dict, int]:
        """What `take` gave for this slate."""
        place = self.place[slate_id]
        return self.slates[place], self.samples[place]

    def answered(self, row: dict) -> None:
        """Keeps a row of traces.jsonl; its slate waits again where it is still open."""
        place = self.place[row["slate_id"]]
        self.rows.append(row)
        self.samples[place] += 1
        if row["accepted"]:
            self.accepted.add(place)
        if self.is_open(place):
            heapq.heappush(self.waiting, place)
        else:
            self.closed += 1

    def sorted_rows(self) -> list[dict]:
        """By slate, in file order, then by sample, whatever the order of the answers was."""
        return sorted(self.rows, key=lambda row: (self.place[row["slate_id"]], row["sample"]))
