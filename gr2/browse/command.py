"""`gr2 browse RUN`: writes one HTML page that shows the slates, rankings and traces of a run's folder in a browser.

The page needs no server and loads nothing. It has one system for every rankings.parquet of the run that ranks slates of
--split. The system has the name that `gr2 evaluate` gave it, or else its folder's; of several seeds, the page shows the
first. The page also has the traces that a teacher wrote for these slates.

  gr2 browse runs/demo                          writes runs/demo/browse.html
  gr2 browse runs/demo --split train            the slates that the teachers explained
  gr2 browse runs/demo --rankings a=runs/a/rerank_sft/rankings.parquet b=runs/b/rerank_sft/rankings.parquet
"""

import argparse
import time
from pathlib import Path

from gr2.browse.collect import collect
from gr2.browse.find import find_files
from gr2.browse.page import render
from gr2.errors import InputError
from gr2.files.artifacts import write_text
from gr2.files.slates import SLATE_SPLITS
from gr2.runner.environment import peak_memory

MOST = 5000  # slates: a page of them with ten systems takes some MB


def main(words: list[str]) -> None:
    options, started = parser().parse_args(words), time.monotonic()
    if options.max_slates < 1:
        raise InputError(f"--max_slates {options.max_slates}: expected a number of at least 1")
    run = Path(options.run)
    output = Path(options.output or run / "browse.html")
    files = find_files(run, options.split, options.rankings)
    content = collect(files, options.split, options.max_slates)
    page = render(run.resolve().name, content)
    write_text(output, page)
    shown, systems = len(content["slates"]["id"]), len(content["systems"])
    print(f"{shown:,} {options.split} slates, {systems} systems, {len(page) / 1e6:.1f} MB; open it in a browser")
    for note in content["notes"]:
        print(note)
    seconds, memory = time.monotonic() - started, peak_memory() / 2**30
    print(f"gr2 browse: {output} in {seconds:.1f} s, peak memory {memory:.2f} GiB")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("gr2 browse", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("run", metavar="RUN", help="a run's folder, with a folder for each stage")
    parser.add_argument("--split", choices=SLATE_SPLITS, default="test", help="which slates to show (default test)")
    most = "show at most N slates: first those that a teacher explained, then others at random (default 5000)"
    parser.add_argument("--max_slates", type=int, default=MOST, metavar="N", help=most)
    named = "show these rankings, each NAME=FILE, instead of all that gr2 finds"
    parser.add_argument("--rankings", nargs="+", default=[], metavar="NAME=FILE", help=named)
    parser.add_argument("--output", metavar="FILE", help="where to write the page (default RUN/browse.html)")
    return parser
