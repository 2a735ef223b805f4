"""`gr2 serve RERANKER`: answers requests to rerank over HTTP.

  gr2 serve runs/demo/fit_prm --run runs/demo
  gr2 serve runs/demo/rl --run runs/demo --prompt student_more_facts --deadline 2000
  gr2 serve MODEL --items ITEMS --semantic_ids IDS --interactions EVENTS --engine openai --base_url http://host/v1

RERANKER is a folder of `gr2 fit` or `gr2 sasrec`, a language model, or a rule (popularity, ...). Clients of Cohere
(/v2/rerank, /v1/rerank), Jina (/v1/rerank) and TEI (/rerank) work unchanged; /v1/slates is gr2's own route. The bearer
token is read from the environment variable GR2_TOKEN. docs/serve.md describes routes, answers and metrics.
"""

import argparse
import os
from pathlib import Path

from gr2.data.facts import FILE
from gr2.errors import InputError
from gr2.evaluation.kinds import has_language_model
from gr2.files.artifacts import MANIFEST, find_in_stages, read_manifest
from gr2.files.slates import SLATE_STAGES
from gr2.rerankers.protocol import Inputs, Sampling
from gr2.rerankers.record import expect_folder, kind_of
from gr2.rerankers.rules import NAMES
from gr2.serving.settings import FILES, BatchLimits, Limits, Settings, Timeouts

TOKEN = "GR2_TOKEN"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Option -> default, least value, what it is.
NUMBERS = {
    "port": (8000, 0, "0: any free port, which the log names"),
    "batch_size": (16, 1, "most requests in a batch"),
    "queue": (64, 1, "requests that may wait; further ones get the status 429"),
    "deadline": (500.0, 1, "milliseconds after which the answer to a request is its input order, marked"),
    "hang": (30.0, 0.1, "seconds without an answer after which the engine is killed and started again"),
    "opening": (600.0, 1, "seconds that an engine may take to open"),
    "max_bytes": (1_048_576, 1, "most bytes in a request's body"),
    "max_candidates": (1000, 1, "most candidates in a request, and most items in its history"),
    "max_text": (4096, 1, "most characters in a text"),
    "max_tokens": (256, 1, "language model: longest answer, in tokens"),
    "temperature": (0.0, 0, "language model: 0 always takes the likeliest"),
}
LARGEST = 1e9
HISTORY = 20  # as in `gr2 slates`
TEXTS = {
    "host": ("127.0.0.1", "an address other than loopback needs GR2_TOKEN"),
    "encoder": (None, "text encoder of `gr2 embed`: ranks items that the catalogue lacks by their text"),
    "prompt": ("student", "language model: the prompt that it was trained with"),
    "base_url": (None, "engine openai: URL of the server, ending in /v1; key in OPENAI_API_KEY"),
}
ENGINES = ("transformers", "vllm", "openai")
ORDERS = ("first", "choices", "written")


def main(words: list[str]) -> None:
    options = parser().parse_args(words)
    check(options)
    settings = Settings(
        options.reranker,
        find_files(options),
        read_sampling(options),
        options.history or read_history(options.run),
        options.encoder,
        choose_threads(options),
        find_level_file(options),
    )
    late = options.deadline / 1000
    timeouts = Timeouts(batch=max(options.hang, late), opening=options.opening, late=late)
    batch_limits = BatchLimits(options.batch_size, late, options.queue)
    limits = Limits(options.max_bytes, options.max_candidates, options.max_text)
    try:
        from gr2.serving.run import run
    except ModuleNotFoundError as error:
        raise InputError(f"serve: expected the package {error.name}; pip install 'gr2[serve]'") from None
    run(settings, timeouts, batch_limits, limits, os.environ.get(TOKEN), options.host, options.port)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("gr2 serve", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("reranker", help="a folder, or a rule (see above)")
    parser.add_argument("--run", metavar="FOLDER", help="a run's folder, in which gr2 finds the next four files")
    for name in FILES:
        parser.add_argument(f"--{name}", metavar="FILE", help="as `gr2 rerank` reads it")
    levels = f"{FILE} of `gr2 facts`, to add facts to requests for a language model whose prompt shows them"
    parser.add_argument("--levels", metavar="FILE", help=levels)
    for name, (default, _, what) in NUMBERS.items():
        kind, shown = type(default), f"{what} (default {default:,})"
        parser.add_argument(f"--{name}", type=kind, default=default, metavar="N", help=shown)
    for name, (text, what) in TEXTS.items():
        shown = f"{what} (default {text})" if text else what
        parser.add_argument(f"--{name}", default=text, metavar=name.upper(), help=shown)
    parser.add_argument("--engine", choices=ENGINES, default="transformers", help="language model: what runs it")
    latest = "how many of a user's latest items are used (default: as many as in the run's slates, or 20)"
    parser.add_argument("--history", type=int, metavar="N", help=latest)
    order = "language model: as in `gr2 rerank` (default first; engine openai: choices)"
    parser.add_argument("--order", choices=ORDERS, help=order)
    shortened = "language model: leave out the oldest items until a prompt has N tokens or fewer"
    parser.add_argument("--max_prompt_tokens", type=int, metavar="N", help=shortened)
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads of the engine (default 1; language model: all)"
    )
    return parser


def check(options: argparse.Namespace) -> None:
    """InputError for no such reranker, a number out of range, an engine without what it needs, an open door."""
    expect_folder(options.reranker)
    least = {name: least for name, (_, least, _) in NUMBERS.items()}
    least |= {"history": 1, "max_prompt_tokens": 1, "threads": 1}
    for name, bound in least.items():
        value = vars(options)[name]
        most = 65535 if name == "port" else LARGEST
        if value is not None and not bound <= value <= most:  # neither is NaN
            raise InputError(f"--{name} {value}: expected a number from {bound:g} to {most:g}")
    if options.engine == "openai" and (not options.base_url or options.order == "first"):
        raise InputError("--engine openai: expected --base_url, and --order choices or written: it gives no scores")
    if options.host not in LOOPBACK and not os.environ.get(TOKEN):
        raise InputError(f"--host {options.host}: expected a bearer token in {TOKEN} where others can reach the server")


def find_files(options: argparse.Namespace) -> Inputs:
    """Those that are named, and of a run the others. InputError without items."""
    given = {name: vars(options)[name] for name in FILES if vars(options)[name]}
    if options.run:
        from gr2.api import find_inputs  # slow to import

        return find_inputs(options.run, **given)
    if "items" not in given:
        raise InputError("serve: expected --items FILE, or --run FOLDER")
    return Inputs(**given)


def find_level_file(options: argparse.Namespace) -> str | None:
    """The file that is named, or that of the run, where a language model may need it; InputError where it has two."""
    if options.levels or not options.run or not has_language_model(options.reranker):
        return options.levels
    found = find_in_stages(options.run, FILE)
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise InputError(f"{options.run}: expected one {FILE} in its stages' folders, found {names}; name it: --levels")
    return str(found[0]) if found else None


def read_history(run: str | None) -> int:
    """The history of the run's slates, the longest where several stages made some: rerankers have learned from it."""
    manifests = [read_manifest(file) for file in find_in_stages(run, MANIFEST)] if run else []
    return max((made["config"]["history"] for made in manifests if made["stage"] in SLATE_STAGES), default=HISTORY)


def read_sampling(options: argparse.Namespace) -> Sampling:
    names = ("prompt", "engine", "base_url", "batch_size", "max_tokens", "temperature", "max_prompt_tokens")
    order = options.order or ("choices" if options.engine == "openai" else "first")
    given = {name: vars(options)[name] for name in names}
    return Sampling(**given, order=order, deadline=options.hang)


def choose_threads(options: argparse.Namespace) -> int | None:
    """One is fastest for a small network; None: as many as torch takes."""
    name = options.reranker
    small = name in NAMES or not Path(name).is_dir() or kind_of(name) not in ("language model", "one_pass", "fusion")
    return options.threads or (1 if small else None)
