"""gr2 evaluate-retrieval: pre-rankers' lists + interactions -> metrics.json, report.html.

Measures lists over the full catalogue: recall and NDCG at 1 to 50 of the item that came next, by how often it occurs in
the pretrain events, and by the length of the history. Intervals and tests are clustered by user; systems are compared
with the first one.
"""

from dataclasses import dataclass
from pathlib import Path

from gr2.data.splits import measure_later_share
from gr2.errors import InputError
from gr2.evaluation.inputs import name_files
from gr2.evaluation.retrieval import evaluate, read_making
from gr2.files.artifacts import write_json, write_text
from gr2.options.declare import arg
from gr2.retrieval.positions import read_events
from gr2.stages.shared import EvaluationOptions

WRITES = ("metrics.json", "report.html")


@dataclass(kw_only=True)
class Config(EvaluationOptions):
    items: str = arg(help="items.parquet, the catalogue", path="items.parquet")
    interactions: str = arg(help="interactions.parquet of `gr2 prepare`", path="interactions.parquet")
    top_k: list[str] = arg(
        help="one or more pre-rankers, each NAME=FILE with FILE the top_k.parquet of `gr2 slates --depth`",
        path="top_k.parquet",
    )
    output_dir: str = arg(help="folder for metrics.json and report.html")

    def __post_init__(self) -> None:
        if not name_files("top_k", self.top_k):
            raise InputError("--top_k: expected one or more NAME=FILE")


def run(config: Config) -> None:
    """Reads items, interactions, lists and the reports and manifests beside these; writes metrics.json and report.html;
    prints a table.
    """
    from gr2.reports import retrieval as report

    # read
    lists = name_files("top_k", config.top_k)
    log = read_events(config.items, config.interactions)
    making = {name: read_making(file) for name, file in lists.items()}
    # measure, compare
    results, curves = evaluate(log, config.split, lists, config.resamples, config.seed)
    results["pretrain_later_than_first_test"] = measure_later_share(log.events)
    # write
    page = report.render(results, curves, making)
    write_json(Path(config.output_dir) / "metrics.json", results)
    write_text(Path(config.output_dir) / "report.html", page)
    report.print_table(results)
