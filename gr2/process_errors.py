"""A failure of one of several processes that torchrun or accelerate started: one of them speaks, the others are quiet.

The launcher ends with 1 whatever its processes ended with, and prints a table of them. The sentence is in that table,
and `gr2 run --launch` learns of sentence and exit code by a file.
"""

import json
import os
import sys
import time
from pathlib import Path

from gr2.masking import mask

FILE = "GR2_FAILURE_FILE"  # the environment variable with that file's name
ELASTIC = "TORCHELASTIC_ERROR_FILE"  # torchrun's: FOLDER/RANK/error.json


def fail(sentence: str, code: int) -> int:
    """Prints the sentence, unless another process has spoken; returns the exit code."""
    sentence = f"gr2: {mask(sentence)}"
    if may_speak():
        print(sentence, file=sys.stderr, flush=True)
        write(ELASTIC, {"message": {"message": sentence, "extraInfo": {"timestamp": int(time.time())}}})
        write(FILE, {"sentence": sentence, "code": code})
    return code


def is_follower() -> bool:
    """Whether this process was started beside a first one."""
    return rank() > 0


def may_speak() -> bool:
    """The first process may at once. Another waits: where the first one failed, too, the launcher ends it meanwhile."""
    if not is_follower():
        return True
    time.sleep(2 + min(rank(), 8))
    file = os.environ.get(ELASTIC)
    return not (file and any(Path(file).parents[1].glob("*/error.json")))


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def write(variable: str, value: dict) -> None:
    if file := os.environ.get(variable):
        Path(file).write_text(json.dumps(value), encoding="utf-8")
