"""`gr2 card MODEL`: writes README.md, the model's card, or adds the figures of a report to it.

MODEL is the folder of a finished `gr2 midtrain`, `sft`, `rl`, `distil` or `fit one_pass`. It already has a card.

  gr2 card runs/demo/rl --metrics runs/demo/evaluate/metrics.json

The model's weights tell which of the report's systems it is; if the rankings are gone, name it with --system. Whatever
you have written into README.md stays, except in the section Evaluation. docs/hub.md has more.
"""

import argparse
from pathlib import Path

from gr2.files.artifacts import CARD, MANIFEST, sha256, write_json, write_text
from gr2.hub.facts import read_model_manifest


def main(words: list[str]) -> None:
    options = parser().parse_args(words)
    folder = Path(options.model)
    manifest = read_model_manifest(folder)

    from gr2.hub.card import add_figures, load_card, write_card  # slow to import
    from gr2.hub.figures import find_system, read_metrics

    if not (folder / CARD).exists():
        write_card(folder, manifest)
    card = load_card(folder / CARD)
    if options.dataset:
        card.data.datasets = [options.dataset]
    if options.metrics:
        system = find_system(Path(options.metrics), manifest, options.system)
        add_figures(card, read_metrics(Path(options.metrics)), system)
        manifest["card"] = {"metrics": sha256(options.metrics), "system": system}
    write_text(folder / CARD, str(card))
    manifest["outputs"][CARD] = sha256(folder / CARD)
    write_json(folder / MANIFEST, manifest)
    print(f"gr2 card: {folder / CARD}" + (f" with the figures of {system}" if options.metrics else ""))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("gr2 card", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", help="the model's folder")
    parser.add_argument("--metrics", metavar="FILE", help="metrics.json of `gr2 evaluate`")
    parser.add_argument("--system", metavar="NAME", help="the model's name in the report")
    parser.add_argument("--dataset", metavar="ID", help="the data's name on the hub, e.g. me/clicks")
    return parser
