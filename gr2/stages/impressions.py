"""gr2 impressions: a log of what was shown and clicked + interactions -> slates.parquet.

A request becomes a slate. It holds the request's items in the order in which they were shown, labelled by the clicks,
with their positions and, if the log has them, propensities and scores. The history is what the user did before the
request. The latest requests are test, those before them valid, all others train. `fit blend` and `fit lambdamart` learn
with the positions and rank without them. With propensities, `gr2 evaluate` adds IPS and SNIPS estimates to the plain
metrics.
"""

from dataclasses import dataclass
from pathlib import Path

from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.columns import write_parquet
from gr2.files.impressions import OPTIONAL, REQUIRED, read_impressions
from gr2.files.names import column_names, name_columns
from gr2.files.slates import check_slates
from gr2.options.declare import arg
from gr2.retrieval.impression_log import describe_log, measure_earlier_share, read_impression_slates
from gr2.retrieval.positions import read_events
from gr2.stages.shared import ItemOptions

WRITES = ("slates.parquet", "slates_report.json")


@dataclass(kw_only=True)
class Config(ItemOptions):
    interactions: str = arg(help="interactions.parquet of `gr2 prepare`, with times", path="interactions.parquet")
    impressions: str = arg(
        help=f"the log, one row for each item of a request: {', '.join(REQUIRED)}, optional {', '.join(OPTIONAL)}",
        path="impressions.parquet",
    )
    output_dir: str = arg(help="folder for slates.parquet and slates_report.json")
    columns: list[str] = arg([], "NAME=COLUMN for columns with other names in the log, e.g. request_id=session click=y")
    history: int = arg(20, "a slate keeps the user's latest HISTORY items before the request", least=1)
    positions: bool = arg(
        True,
        "keep positions: rerankers learn with them, rank without; false: the shown rank is a feature like any other",
    )
    valid_share: float = arg(0.1, "share of the requests for validation, before the test requests", least=0, below=1)
    test_share: float = arg(0.2, "share of the requests for tests: the latest", least=0, below=1)

    def __post_init__(self) -> None:
        for name in column_names(self.columns):
            if name not in (*REQUIRED, *OPTIONAL):
                known = ", ".join((*REQUIRED, *OPTIONAL))
                raise InputError(f"--columns {name}=...: expected one of the names {known}")
        if not self.valid_share + self.test_share < 1:
            expected = f"expected a sum below 1 with --test_share, {self.test_share}"
            raise InputError(f"--valid_share {self.valid_share}: {expected}")


def run(config: Config) -> None:
    """Reads items, interactions and the log; writes slates.parquet and slates_report.json; prints counts and what is
    odd about the log.
    """
    # read
    log = read_events(config.items, config.interactions)
    impressions, lost = read_log(config)
    # slates
    frame, splits = read_impression_slates(log, impressions, config.history, config.valid_share, config.test_share)
    found = describe_log(impressions, lost, log)
    if frame.is_empty():
        cold = sum(counts["cold"] for counts in splits.values())
        raise InputError(
            f"{config.impressions}: expected requests of users with an earlier event in {config.interactions} and two "
            f"items of {config.items}; of {found['requests']} requests {cold} have no earlier event, and "
            f"{found['unknown_items']} of {found['impressions']} impressions are of other items"
        )
    earlier = measure_earlier_share(frame, log)
    dropped = ["timestamp"] if config.positions else ["timestamp", "positions"]
    output = Path(config.output_dir)
    slates = check_slates(frame.drop(dropped), output / "slates.parquet", log.item_ids)
    # write
    write_parquet(slates, output / "slates.parquet")
    report = {
        "protocol": "log",
        "pre_ranker": "log",
        "splits": splits,
        "log": found,
        "earlier_than_pretrain": round(earlier, 6),
    }
    write_json(output / "slates_report.json", report)
    for name, counts in splits.items():
        print(f"{name}: {counts['slates']} slates, {counts['unclicked']} of them without a click; left out: "
              f"{counts['cold']} requests without a history, {counts['short']} with fewer than two items")  # fmt: skip
    for warning in list_warnings(found, earlier):
        print(warning)


def read_log(config: Config):
    """`read_impressions`; InputError for a column that `--columns` names and the log lacks."""
    names = column_names(config.columns)
    try:
        return read_impressions(config.impressions, names)
    except InputError as error:
        raise InputError(f"{error}{name_columns(str(error), names)}") from None


def list_warnings(found: dict[str, int], earlier: float) -> list[str]:
    """Sentences on what the slates lack."""
    warnings = []
    if found["unknown_items"]:
        clicks = f"{found['clicks_on_unknown_items']} of {found['clicks']} clicks"
        kinds = f"{found['unknown_items']} of {found['impressions']} impressions, with {clicks}"
        warnings.append(f"warning: {kinds}, are of items that the items file lacks; gr2 leaves them out")
    if found["clicks_without_position"]:
        warnings.append(f"warning: {found['clicks_without_position']} clicks have no position; they are left out")
    if found["gaps"]:
        warnings.append(
            f"warning: {found['gaps']} of {found['requests']} requests have positions at which the log shows nothing"
        )
    if earlier:
        warnings.append(
            f"warning: {100 * earlier:.1f} % of the slates are not later than the last pretrain event: features know "
            "what came after these slates; `gr2 prepare --split time` with larger shares avoids it"
        )
    return warnings
