"""`gr2 run RECIPE`: the stages of a recipe in order, each in a process of its own.

RECIPE is the name of a recipe that comes with gr2 (`gr2 recipes` lists them), or a file; see docs/recipes.md.
A stage whose inputs, options and code are unchanged is skipped; an interrupted one resumes by itself when it is started
again. `--ID.OPTION VALUE` is an option of one stage that wins over the recipe's, e.g. `--rl.max_steps 10`;
`--set NAME=VALUE` is the value of a recipe's variable.
"""

import argparse
import fnmatch
import shlex
import shutil
import signal
import sys
import time

from gr2.errors import GOES_ON, InputError, did_you_mean
from gr2.masking import mask
from gr2.options.words import read_words
from gr2.runner.check_plan import check_all, check_sources
from gr2.runner.current import why_run
from gr2.runner.declarations import read_command
from gr2.runner.plan import Stage, read_plan
from gr2.runner.recipe import find_recipe
from gr2.runner.start import INTERRUPTED, REFUSED, run_in_a_process, run_launched
from gr2.terminal import silence_libraries

OPTIONS = ("config", "dry_run", "only", "from", "until", "set", "launch")


def main(words: list[str]) -> None:
    words, changes = split_changes(words)
    options, unknown = parser().parse_known_args(words)
    silence_libraries()
    name = options.recipe or options.config
    if not name:
        raise InputError("run: expected a recipe: a name that `gr2 recipes` lists, or a file")
    check_launcher(options.launch)
    plan = read_plan(find_recipe(name), changes, options.set)
    refuse_words(unknown, plan)
    chosen = select(plan, options)
    check_sources(plan, chosen, name)
    if options.dry_run == "true":
        if print_plan(plan, chosen):
            check_all(plan, chosen)
        return
    started, checked = time.monotonic(), False
    for number, stage in enumerate(plan, start=1):
        if stage.id not in chosen:
            continue
        label = f"[{number}/{len(plan)}] {stage.id}: {stage.folder}"
        reason = why_run(stage.command, stage.options)
        if not reason:
            print(f"{label}: unchanged, skipped", flush=True)
            continue
        if not checked:  # a typing error in the last stage shows before the first one runs for an hour
            check_all(plan, chosen)
            checked = True
        print(f"{label}: {reason}", flush=True)
        start = run_launched if is_launched(stage, options) else run_in_a_process
        status = start(stage_command(stage, name, changes, options))
        if status == INTERRUPTED:  # the stage has printed why
            sys.exit(status)
        if status:
            print(f"gr2 run: stage {stage.id} {describe_end(status)}, {GOES_ON}", file=sys.stderr)
            sys.exit(status if status > 0 else 1)
    print(f"gr2 run: {name} done in {time.monotonic() - started:.1f} s", flush=True)


def check_launcher(launch: str) -> None:
    try:
        program = next(iter(shlex.split(launch)), "")
    except ValueError:
        raise InputError(f"--launch {launch}: expected words for a shell, with quotes that are closed") from None
    if program and not shutil.which(program):
        raise InputError(f"--launch {program}: no such program; expected, say, 'accelerate launch --num_processes 8'")


def refuse_words(words: list[str], plan: list[Stage]) -> None:
    """InputError for options that are not those of `gr2 run`; one of a stage is written with the stage's id."""
    for name, values in read_words(words).items():
        expected = f"expected one of --{', --'.join(OPTIONS)}{did_you_mean(name, OPTIONS)}"
        known = [stage.id for stage in plan if name in read_command(stage.command).all_options.keys() - {"output_dir"}]
        if known:
            expected = f"an option of a stage has the stage's id before it: --{known[0]}.{shlex.join([name, *values])}"
        raise InputError(f"run: --{name}: {expected}")


def describe_end(status: int) -> str:
    if status == -signal.SIGKILL:
        return "was killed, as machines do that run out of memory; with more memory"
    if status == REFUSED:
        return "was refused (exit code 2); once you have corrected that"
    return f"ended with {status}; once the cause is gone"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("gr2 run", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("recipe", nargs="?", help="a recipe's name, e.g. demo, or a file")
    parser.add_argument("--config", metavar="FILE", help="the same as RECIPE")
    plan = "print every stage, its inputs, and why it would run or be skipped; run nothing"
    parser.add_argument("--dry_run", nargs="?", const="true", default="false", choices=("true", "false"), help=plan)
    only = "run only these stages; globs too: 'rerank_*'"
    parser.add_argument("--only", nargs="+", action="extend", metavar="ID", help=only)
    parser.add_argument("--from", dest="first", metavar="ID", help="begin with this stage and the outputs before it")
    parser.add_argument("--until", metavar="ID", help="stop after this stage")
    sets = "values of the recipe's variables"
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help=sets)
    launch = "starts the stages that train with transformers or TRL: 'accelerate launch --config_file FILE ...'"
    parser.add_argument("--launch", default="", metavar="WORDS", help=launch)
    return parser


def split_changes(words: list[str]) -> tuple[list[str], dict[str, dict[str, list[str] | None]]]:
    """`demo --rl.max_steps 10` -> ["demo"], {"rl": {"max_steps": ["10"]}}; null takes an option away."""
    rest: list[str] = []
    changing: list[str] = []
    into = rest
    for word in words:
        if word.startswith("--"):
            into = changing if "." in word.partition("=")[0] else rest
        into.append(word)
    changes: dict[str, dict[str, list[str] | None]] = {}
    for key, values in read_words(changing).items():
        stage_id, _, name = key.rpartition(".")
        changes.setdefault(stage_id, {})[name] = None if values == ["null"] else values
    return rest, changes


def select(plan: list[Stage], options: argparse.Namespace) -> list[str]:
    """The ids of the stages that --only, --from and --until leave."""
    ids = [stage.id for stage in plan]

    def fitting(name: str, pattern: str) -> list[int]:
        rows = [row for row, stage_id in enumerate(ids) if fnmatch.fnmatchcase(stage_id, pattern)]
        if not rows:
            raise InputError(f"--{name} {pattern}: expected one of {', '.join(ids)}")
        return rows

    rows = {row for pattern in options.only or ["*"] for row in fitting("only", pattern)}
    first = fitting("from", options.first)[0] if options.first else 0
    last = fitting("until", options.until)[-1] if options.until else len(ids)
    return [stage_id for row, stage_id in enumerate(ids) if row in rows and first <= row <= last]


def print_plan(plan: list[Stage], chosen: list[str]) -> list[str]:
    """Every stage with its inputs and why it would run; an input that is made again may come out the same. Returns the
    ids of those that would run.
    """
    runs: list[str] = []
    for number, stage in enumerate(plan, start=1):
        before = [source for source in dict.fromkeys(stage.sources.values()) if source in runs]
        reason = why_run(stage.command, stage.options) if stage.id in chosen else "not asked for"
        if stage.id in chosen and (reason or before):
            runs.append(stage.id)
        reason = reason or (f"after {', '.join(before)}, if that changes" if before else "unchanged")
        print(f"[{number}/{len(plan)}] {stage.id}: gr2 {stage.command} -> {stage.folder}: {reason}")
        for path, source in stage.sources.items():
            print(f"    {mask(path)} (of {source})")
    return runs


def is_launched(stage: Stage, options: argparse.Namespace) -> bool:
    """Whether it is a stage for --launch: one that trains with transformers or TRL."""
    return bool(options.launch) and read_command(stage.command).trains


def stage_command(stage: Stage, recipe: str, changes: dict[str, dict], options: argparse.Namespace) -> list[str]:
    """The words that start a stage. It reads the recipe's options itself: a secret there is in no list of processes."""
    python = shlex.split(options.launch) if is_launched(stage, options) else [sys.executable]
    words = [*python, "-m", "gr2", *stage.command.split(), "--recipe", recipe, "--stage", stage.id]
    words += ["--set", *options.set] if options.set else []
    for name in changes.get(stage.id.replace("-", "_"), {}):
        words += [f"--{name}", *stage.options.get(name, ["null"])]
    return words
