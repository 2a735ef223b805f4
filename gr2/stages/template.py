"""gr2 template: traces without a teacher, written from the items' categories.

The relevant item comes first and the others keep their order. With `rankings`, the traces teach any reranker's order,
which needs no labels; unusable answers are left out.
"""

from dataclasses import dataclass
from pathlib import Path

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.slates import sample_slates
from gr2.options.declare import arg
from gr2.prompts.prompt import load_prompt
from gr2.stages.shared import SemanticIdOptions, SlateOptions, TracePromptOptions
from gr2.traces.choose import choose_slates
from gr2.traces.store import write_traces
from gr2.traces.summary import describe, summarise
from gr2.traces.template import read_orders, relevant_first, write_rows

WRITES = ("traces.jsonl", "summary.json")


@dataclass(kw_only=True)
class Config(SlateOptions, SemanticIdOptions, TracePromptOptions):
    output_dir: str = arg(help="folder for traces.jsonl and summary.json")
    rankings: str | None = arg(
        None,
        "teach the order of this rankings.parquet, and explain its first item",
        path="rankings.parquet",
        named=True,
    )


def run(config: Config) -> None:
    """Reads slates, items, semantic IDs, a prompt and optional rankings.

    Writes traces.jsonl (one accepted trace a slate, in slate order) and summary.json; prints their number.
    """
    # read
    prompt = load_prompt(config.prompt, config.domain, config.priming)
    if prompt.shows_target:
        raise InputError(f"--prompt {config.prompt}: expected a prompt that does not show the target")
    catalogue = read_catalogue(config.items, config.semantic_ids)
    item_ids, skip, unlabelled = catalogue.item_ids, config.skip_accepted, bool(config.rankings)
    slates, left_out = choose_slates(config.slates, item_ids, config.split, skip, unlabelled=unlabelled)
    slates = sample_slates(slates, config.max_slates, config.seed)

    # examples
    if config.rankings:
        usable, orders = read_orders(config.rankings, slates)
        left_out["slates_without_usable_ranking"] = unusable = len(slates) - len(usable)
        slates = usable
        if unusable:
            print(f"left out: {unusable} slates whose ranking is unusable")
    else:
        orders = [relevant_first(slate) for slate in slates]
    rows = write_rows(slates, orders, prompt, catalogue, teacher=config.rankings or "template")

    # write
    summary = summarise(rows, slates) | left_out | {"prompt": prompt.label}
    write_traces(config.output_dir, rows)
    write_json(Path(config.output_dir) / "summary.json", summary)
    print(describe(summary))
