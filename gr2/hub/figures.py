"""Figures of a report for a model's card, in the form of the hub's `model-index`."""

from pathlib import Path

from huggingface_hub import EvalResult

from gr2.errors import InputError
from gr2.evaluation.inputs import ranking_files
from gr2.files.artifacts import MANIFEST, read_json, read_manifest

TASK = "text-ranking"


def find_system(metrics: Path, manifest: dict, given: str | None) -> str:
    """The system of the report whose rankings this model made, by its weights; or the one that is `given`.

    InputError where there is none, or the weights say that it is another model's, or this one's before it was trained
    again.
    """
    systems, read = read_metrics(metrics)["systems"], files_read(metrics)
    weights = {digest for name, digest in manifest["outputs"].items() if name.endswith(".safetensors")}
    of_model = [name for name, digests in read.items() if weights & digests]
    if given is None and len(of_model) != 1:
        found = ", ".join(of_model) or "none"
        expected = "expected one system with this model's weights"
        raise InputError(f"--metrics {metrics}: {expected}, found {found}; name one with --system")
    name = given or of_model[0]
    if name not in systems:
        raise InputError(f"--system {name}: expected one of {', '.join(systems)}")
    if of_model and name not in of_model:
        raise InputError(f"--system {name}: expected {', '.join(of_model)}, whose rankings this model made")
    if name in read and name not in of_model:
        again = "rank and evaluate again with this one"
        raise InputError(f"--system {name}: its rankings were made by a model with other weights; {again}")
    return name


def files_read(metrics: Path) -> dict[str, set[str]]:
    """The systems whose rankings have a manifest -> the sha256 of all files that they were made from."""
    beside = metrics.parent / MANIFEST
    options = read_manifest(beside).get("options", {}) if beside.exists() else {}
    found = {}
    for name, files in ranking_files(options.get("rankings", [])).items():
        records = [record for file in files if (record := Path(file).parent / MANIFEST).exists()]
        if records:
            found[name] = {digest for record in records for digest in read_manifest(record)["inputs"].values()}
    return found


def read_metrics(path: Path) -> dict:
    """InputError for another file than the metrics.json of `gr2 evaluate`."""
    metrics = read_json(path)
    if not {"split", "slates", "users", "systems", "intervals"} <= metrics.keys():
        raise InputError(f"{path}: expected the metrics.json of `gr2 evaluate`")
    return metrics


def eval_results(metrics: dict, system: str, dataset: str) -> list[EvalResult]:
    """Those metrics that have an interval."""
    values = metrics["systems"][system]
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split=metrics["split"],
            metric_type=name,
            metric_name=shown(name),
            metric_value=values[name],
        )
        for name in metrics["intervals"][system]
    ]


def describe_figures(metrics: dict, system: str) -> str:
    """A table in Markdown: the model, the order that it was given, and the strongest reranker without such a model."""
    columns = {"this model": system, "input order": "input_order"}
    strongest = metrics.get("strongest_reranker")
    if strongest not in (None, system):
        columns[strongest.replace("|", "\\|") + ", the strongest without a language model"] = strongest
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name in metrics["intervals"][system]:
        cells = [cell(metrics, other, name) for other in columns.values()]
        lines.append(f"| {shown(name)} | {' | '.join(cells)} |")
    seeds = len(next(iter(metrics.get("seeds", {}).get(system, {"": [None]}).values())))
    about = f"{metrics['slates']:,} {metrics['split']} slates of {metrics['users']:,} users, by `gr2 evaluate`"
    mean = f" The model's figures are means over {seeds} seeds, and this model is one of them." if seeds > 1 else ""
    return "\n".join([*lines, "", f"{about}; in brackets 95 % intervals over users.{mean}"])


def cell(metrics: dict, system: str, name: str) -> str:
    low, high = metrics["intervals"][system][name]
    return f"{metrics['systems'][system][name]:.4f} [{low:.4f}, {high:.4f}]"


def shown(metric: str) -> str:
    """`ndcg@5` -> `NDCG@5`, `recall@1` -> `Recall@1`."""
    return metric.upper() if metric.startswith(("ndcg", "hr", "map", "auc")) else metric.capitalize()
