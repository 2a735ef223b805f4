"""One JSON object a line on stderr. Of a request it says how many and how long, never who or what."""

import json
import logging
import sys
import time
import traceback

from gr2.masking import mask


def write(event: str, level: str = "info", **values: object) -> None:
    """`{"time": ..., "level": ..., "event": ...}` and the values."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{int(time.time() * 1000) % 1000:03d}Z"
    sys.stderr.write(json.dumps({"time": moment, "level": level, "event": event, **values}) + "\n")
    sys.stderr.flush()


def describe(error: BaseException) -> str:
    """The kind of an error and where it was raised; its message may hold a request's words."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rpartition('/gr2/')[2]}:{frame.lineno}" for frame in frames[-4:]]
    return f"{type(error).__name__} at {' < '.join(reversed(places))}"


class Lines(logging.Handler):
    """What libraries log, as lines of the same form; of an exception its kind and place."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            write("library", record.levelname.lower(), logger=record.name, error=describe(record.exc_info[1]))
        else:
            write("library", record.levelname.lower(), logger=record.name, message=mask(record.getMessage()))


def take_over() -> None:
    """Sends every library's warnings through `Lines`."""
    logging.basicConfig(level=logging.WARNING, handlers=[Lines()], force=True)
