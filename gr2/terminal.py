"""What a run says while it works: warnings, and how far it has come. The libraries beneath it are silent.

All goes to the error stream, and of several processes only the first one speaks.
"""

import functools
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator

from gr2.process_errors import is_follower

FIRST, LONGEST = 10.0, 120.0  # seconds before the first line about a long work, and between two at most
# What keeps libraries silent; a user who wants to hear them sets these. Processes that are started inherit them.
SILENCE = {
    "PYTHONWARNINGS": "ignore",
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
LOGGERS = ("accelerate", "peft", "sentence_transformers", "torch", "trl", "vllm")


def silence_libraries() -> None:
    """Before they are imported."""
    if "PYTHONWARNINGS" not in os.environ and not sys.warnoptions:
        warnings.simplefilter("ignore")
    for variable, value in SILENCE.items():
        os.environ.setdefault(variable, value)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


def warn(sentence: str) -> None:
    say(f"gr2: warning: {sentence}")


@functools.cache
def warn_once(sentence: str) -> None:
    warn(sentence)


def say(line: str) -> None:
    if not is_follower():
        print(line, file=sys.stderr, flush=True)


class Progress:
    """Says `14:03:12 packing: 1,200 of 4,000 documents, 2 min left`: after ten seconds, and then ever more rarely.

    total: None where it is not known. done: what an interrupted run had done before.
    """

    def __init__(self, what: str, total: int | None = None, unit: str = "", done: int = 0):
        self.what, self.total, self.unit = what, total, unit
        self.done = self.begun = done
        self.started, self.next = time.monotonic(), FIRST

    def advance(self, count: int = 1, note: str = "") -> None:
        """`note`: what to add to the line, if there is one."""
        self.done += count
        seconds = time.monotonic() - self.started
        if seconds >= self.next:
            self.next = seconds + min(max(FIRST, seconds / 5), LONGEST)
            say(self.describe(seconds) + (f"; {note}" if note else ""))

    def describe(self, seconds: float) -> str:
        line = f"{time.strftime('%H:%M:%S')} {self.what}: {self.done:,}"
        if self.total is None:
            return f"{line} {self.unit}".rstrip()
        line = f"{line} of {self.total:,} {self.unit}".rstrip()
        if self.done == self.begun:
            return line
        left = seconds / (self.done - self.begun) * max(0, self.total - self.done)
        return f"{line}, {describe_duration(left)} left"


def show_progress(items: Iterable, what: str, total: int | None = None, unit: str = "") -> Iterator:
    """The items; `Progress` counts each once the next one is asked for."""
    progress = Progress(what, total, unit)
    for item in items:
        yield item
        progress.advance()


def describe_duration(seconds: float) -> str:
    """75 -> "75 s", 400 -> "7 min", 9000 -> "2 h 30 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
