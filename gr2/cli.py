"""`gr2 COMMAND [--config FILE] [--key value ...]`: names every command and hands over to it, nothing else."""

import importlib
import signal
import sys

from gr2.errors import GOES_ON, InputError, describe_failure, did_you_mean
from gr2.process_errors import fail, is_follower, may_speak
from gr2.stages import FIT, GROUPS, STAGES

FAILED, REFUSED, INTERRUPTED = 1, 2, 130  # exit codes
AROUND = {
    "run": ("gr2.runner.pipeline", "a recipe: its stages in order; finished ones are skipped, interrupted ones resume"),
    "update": ("gr2.runner.update", "a recipe, once for every new day of data; the better reranker serves"),
    "estimate": ("gr2.estimate.command", "a recipe: memory, tokens and hours of its language models; runs nothing"),
    "card": ("gr2.hub.card_command", "a trained model's README.md: adds the figures of a report to it"),
    "push": ("gr2.hub.push_command", "a trained model's folder -> a repository on the Hugging Face hub"),
    "serve": ("gr2.serving.command", "a reranker over HTTP, for clients of Cohere, Jina and TEI, and gr2's own route"),
    "browse": ("gr2.browse.command", "a run: one page to look at its slates, and at what each system made of them"),
    "recipes": ("gr2.runner.recipes", "the recipes that come with gr2; `gr2 recipes copy NAME` writes one here"),
    "env": ("gr2.runner.environment", "versions and hardware, for a bug report"),
}


def usage() -> str:
    lines = ["usage: gr2 COMMAND [--config FILE] [--key value ...]", "", "Start here: gr2 run demo", ""]
    for group, commands in GROUPS.items():
        shown = {name: about for name, about in commands.items() if not name.startswith("fit ")}
        if len(shown) < len(commands):
            shown = {"fit KIND": f"slates -> a small reranker's folder; KIND: {', '.join(FIT)}"} | shown
        lines += [group, *describe(shown), ""]
    lines += ["Around them", *describe({name: about for name, (_, about) in AROUND.items()})]
    lines += [
        "",
        "Commands are in the order in which data flows. `gr2 COMMAND --help` lists a command's options; the keys of",
        "the YAML file FILE are the same options, and the command line wins.",
        "Exit codes: 0 done, 2 refused input, arguments or training (no output), 130 interrupted (the same command",
        "goes on from there), 1 anything else: the machine failed (a full disk, a service), or gr2 did.",
    ]
    return "\n".join(lines)


def describe(commands: dict[str, str]) -> list[str]:
    return [f"  {name:18} {about}" for name, about in commands.items()]


def main(words: list[str] | None = None) -> None:
    """Runs a command. Ends with the exit codes that `usage` names; only a fault of gr2's own leaves as an exception."""
    try:
        run(sys.argv[1:] if words is None else words)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would only interrupt the way out
        sys.exit(INTERRUPTED if is_follower() else fail(f"interrupted; {GOES_ON}", INTERRUPTED))


def run(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        sys.exit(0 if words else 2)
    if words[0] == "--version":
        from gr2 import __version__

        print(f"gr2 {__version__}")
        return
    if words[0] == "fit" and words[1:2] in ([], ["-h"], ["--help"]):
        print("\n".join(["usage: gr2 fit KIND [--config FILE] [--key value ...]", "", *describe(FIT)]))
        sys.exit(0 if words[1:] else 2)
    length = 2 if words[0] == "fit" else 1
    command, words = " ".join(words[:length]), words[length:]
    if command not in STAGES | AROUND:
        near = did_you_mean(command, STAGES | AROUND) or f"; one of: {', '.join(STAGES | AROUND)}"
        sys.exit(fail(f"'{command}' is no command{near}", REFUSED))
    try:
        if command in AROUND:
            importlib.import_module(AROUND[command][0]).main(words)
        else:
            from gr2.runner.stage import run_stage

            run_stage(command, words)
    except InputError as error:
        sys.exit(fail(str(error), REFUSED))
    except Exception as error:
        sentence = describe_failure(error)
        if sentence is None:
            if may_speak():
                raise
            sys.exit(FAILED)
        sys.exit(fail(sentence, FAILED))
