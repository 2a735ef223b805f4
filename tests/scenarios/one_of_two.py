"""One of the two processes of tests/scenarios/test_edges.py: it refuses its input, is wrong, or waits."""

import os
import sys
import time

from gr2 import cli
from gr2.errors import InputError


def work(words: list[str]) -> None:
    what, rank = sys.argv[1], os.environ["RANK"]
    print(f"runs {rank}\n", end="", flush=True)
    if what == "refuses" or (what == "second refuses" and rank == "1"):
        raise InputError("--items i: expected another")
    if what == "is wrong" and rank == "0":
        raise KeyError("a fault of gr2")
    time.sleep(60)


class Command:
    main = staticmethod(work)


cli.importlib.import_module = lambda _: Command
cli.main(["env"])
