"""`gr2 STAGE --config FILE [--key value ...]`: names every stage and hands over to it, nothing else."""

import importlib
import signal
import sys

from gr2.errors import InputError
from gr2.masking import mask
from gr2.stages import STAGES

OTHER = {
    "run": (
        "gr2.runner.pipeline",
        "a pipeline recipe: its stages in order; finished ones are skipped, interrupted ones resume",
    ),
    "env": ("gr2.runner.environment", "versions and hardware, for a bug report"),
}


def usage() -> str:
    lines = ["usage: gr2 STAGE --config FILE [--key value ...]", "", "Stages, in the order in which data flows:", ""]
    lines += [f"  {name:13} {about}" for name, about in STAGES.items()]
    lines += ["", "Around them:", ""]
    lines += [f"  {name:13} {about}" for name, (_, about) in OTHER.items()]
    lines += [
        "",
        "`gr2 STAGE --help` lists a stage's options. YAML keys are the same options; the command line wins.",
        "Start here: gr2 run --config recipes/demo/pipeline.yaml",
        "Exit codes: 0 done, 2 wrong input or arguments (nothing written), 130 interrupted (the same command goes on from",
        "there), 1 anything else: the machine failed (a full disk, a service), or gr2 did.",
    ]
    return "\n".join(lines)


def main(words: list[str] | None = None) -> None:
    words = sys.argv[1:] if words is None else words
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        sys.exit(0 if words else 2)
    if words[0] == "--version":
        from gr2 import __version__

        print(f"gr2 {__version__}")
        return
    if words[0] not in STAGES | OTHER:
        sys.exit(_fail(f"'{words[0]}' is not a stage; one of: {', '.join(STAGES | OTHER)}"))
    try:
        if words[0] in OTHER:
            importlib.import_module(OTHER[words[0]][0]).main(words[1:])
        else:
            from gr2.runner.stage import run_stage

            run_stage(words[0], words[1:])
    except InputError as error:
        sys.exit(_fail(str(error)))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would only interrupt the way out
        sys.exit(_fail("interrupted; the same command goes on from here", 130))
    except Exception as error:
        if not is_machine_failure(error):
            raise
        sys.exit(_fail(" ".join(str(error).split()) or type(error).__name__, 1))


def is_machine_failure(error: Exception) -> bool:
    """Whether it was the disk, the network or a damaged file; anything else is a fault of gr2 and shows its traceback."""
    library = type(error).__module__.partition(".")[0]
    return (
        isinstance(error, OSError | MemoryError)
        or type(error).__name__ == "SafetensorError"
        or (library == "polars" and "io error" in str(error).lower())
    )


def _fail(sentence: str, code: int = 2) -> int:
    print(f"gr2: {mask(sentence)}", file=sys.stderr)
    return code
