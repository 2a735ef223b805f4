"""A model's card, README.md: written when the model has been trained, and the figures of a report added to it."""

import re
from pathlib import Path

import yaml
from huggingface_hub import ModelCard, ModelCardData

from gr2.errors import InputError
from gr2.evaluation.cost import count_parameters
from gr2.files.artifacts import CARD, read_json, write_text
from gr2.hub.facts import TITLES, Facts, read_facts
from gr2.hub.figures import TASK, describe_figures, eval_results
from gr2.language_model.id_record import FILE

TEMPLATE = Path(__file__).parent / "card.md.j2"
TAGS = ["gr2", "recommender-systems", "reranking"]
FIGURES = re.compile(r"(?<=^## Evaluation\n)(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


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
