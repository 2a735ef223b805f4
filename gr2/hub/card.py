"""`gr2 card MODEL`: writes README.md, the model's card, or adds the figures of a report to it.

MODEL is the folder of a finished `gr2 midtrain`, `sft`, `rl`, `distil` or `fit one_pass`. It already has a card.

  gr2 card runs/demo/rl --metrics runs/demo/evaluate/metrics.json

The model's weights tell which of the report's systems it is; if the rankings are gone, name it with --system. Whatever
you have written into README.md stays, except in the section Evaluation. docs/hub.md has more.
"""

import argparse
import re
from pathlib import Path

import yaml
from huggingface_hub import ModelCard, ModelCardData

from gr2.errors import InputError
from gr2.evaluation.cost import count_parameters
from gr2.files.artifacts import CARD, MANIFEST, read_json, read_manifest, sha256, write_json, write_text
from gr2.hub.facts import TITLES, Facts, read_facts
from gr2.hub.figures import TASK, describe_figures, eval_results, find_system, read_metrics
from gr2.language_model.id_record import FILE

TEMPLATE = Path(__file__).parent / "card.md.j2"
TAGS = ["gr2", "recommender-systems", "reranking"]
FIGURES = re.compile(r"(?<=^## Evaluation\n)(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def main(words: list[str]) -> None:
    options = parser().parse_args(words)
    folder = Path(options.model)
    manifest = read_model_manifest(folder)
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


def read_model_manifest(folder: Path) -> dict:
    """InputError unless it is the finished folder of a model that has a card."""
    if not (folder / MANIFEST).exists():
        raise InputError(f"{folder}: expected the folder of a finished training; it has no {MANIFEST}")
    manifest = read_manifest(folder / MANIFEST)
    if manifest.get("stage") not in TITLES:
        expected = ", ".join(f"gr2 {stage}" for stage in TITLES)
        raise InputError(f"{folder}: expected the folder of one of {expected}; found {manifest.get('stage')}")
    return manifest


def load_card(path: Path) -> ModelCard:
    try:
        return ModelCard.load(path)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: expected a card with metadata in YAML between two lines of --- ({reason})") from None


def write_card(folder: Path, manifest: dict) -> None:
    """Of a model that has just been trained: what is known of it, and no figures yet."""
    facts = read_facts(manifest)
    data = ModelCardData(
        pipeline_tag=TASK,
        library_name="gr2" if facts.stage == "fit one_pass" else "transformers",
        base_model=facts.base_model,
        base_model_relation="finetune" if facts.base_model else None,
        datasets=list(filter(None, [facts.dataset, general_text(facts)])) or None,
        tags=[*TAGS, f"gr2-{facts.stage.removeprefix('fit ')}"],
    )
    known_ids = read_json(folder / FILE) if (folder / FILE).exists() else None
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        title=TITLES[facts.stage],
        facts=facts,
        options=yaml.safe_dump(facts.options, sort_keys=False, allow_unicode=True, width=100).rstrip(),
        parameters=count_parameters(folder),
        config=read_json(folder / "config.json"),
        taught=known_ids,
    )
    write_text(folder / CARD, str(card) + "\n")


def general_text(facts: Facts) -> str | None:
    """The hub's name of the text that mid-training mixed in."""
    name = facts.options.get("general_text")
    return name if isinstance(name, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", name) else None


def add_figures(card: ModelCard, metrics: dict, system: str) -> None:
    """Replaces the figures in the metadata and in the section Evaluation by a report's."""
    card.data.model_name = card.data.model_name or "gr2"
    card.data.eval_results = eval_results(metrics, system, (card.data.datasets or ["own-data"])[0])
    figures = f"\n{describe_figures(metrics, system)}\n\n"
    if FIGURES.search(card.text):
        card.text = FIGURES.sub(lambda _: figures, card.text, count=1)
    else:
        card.text = f"{card.text.rstrip()}\n\n## Evaluation\n{figures.rstrip()}\n"
