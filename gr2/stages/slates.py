"""gr2 slates: interactions + pre-rankers -> slates.parquet, the lists to rerank; with --depth also top_k.parquet.

A slate is made at a train, valid or test position: the history before it, the pre-ranker's top K, and which of them the
user chose next. A position whose target is not among the K is `missed`, one with fewer than K items is `short`: both
are counted and left out (GR2 does the same); --keep_missed keeps the missed of the train split. Lists of gr2's own
pre-rankers are short only where the catalogue has no more items for the user. With --train_horizon several of a train
slate's items are relevant, the user's next ones in any order (ours: where events come in baskets, which of them is next
says little). Lists of several pre-rankers are fused by reciprocal rank (`retrieval.classic.fuse`).
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.columns import write_parquet
from gr2.files.slates import SLATE_SPLITS, check_slates
from gr2.options.declare import arg
from gr2.retrieval.lists import PreRankers, draw_lists, read_lists
from gr2.retrieval.next_item import find_wanted, next_item_slates, top_k_table
from gr2.retrieval.positions import EventLog, read_events, select_positions
from gr2.retrieval.protocols import impression_slates, later_slates
from gr2.stages.slates_options import Beam, Protocol

PRE_RANKERS = ("beam", "sasrec", "popularity", "item_knn", "bm25", "file")
WRITES = ("slates.parquet", "slates_report.json", "top_k.parquet")


@dataclass(kw_only=True)
class Config(Beam, Protocol):
    items: str = arg(help="items.parquet", path="items.parquet")
    interactions: str = arg(help="interactions.parquet of `gr2 prepare`", path="interactions.parquet")
    output_dir: str = arg(help="folder for slates.parquet and slates_report.json")
    pre_ranker: list[str] = arg(["beam"], f"what makes the lists: one or more of {', '.join(PRE_RANKERS)}")
    sasrec: str | None = arg(None, "sasrec: the folder of `gr2 sasrec`", path=True)
    top_k: str | None = arg(
        None, "file: your own ranker's lists, a table with user_id, position, candidates, optional scores", path=True
    )
    candidates: int = arg(10, "items per slate (GR2: 10)", least=1)
    depth: int | None = arg(
        None,
        "also write top_k.parquet, the first DEPTH items at every position, for `gr2 evaluate-retrieval`",
        least=1,
    )
    history: int = arg(20, "a slate, and beam, item_knn and bm25, keep the user's latest HISTORY items", least=1)
    exclude_seen: bool = arg(True, "list no item of the user's whole past; turn off where users come back to items")
    splits: list[str] = arg(list(SLATE_SPLITS), "positions of these splits")
    keep_missed: bool = arg(False, "also keep train slates without the target, labels all 0, for what needs no label")
    train_horizon: int = arg(
        1, "train: candidates among the user's next TRAIN_HORIZON train events are relevant", least=1
    )
    max_positions: int | None = arg(
        None, "keep only each user's latest MAX_POSITIONS positions per split; default: all", least=1
    )

    def __post_init__(self) -> None:
        check_pre_rankers(self)
        if not self.splits or set(self.splits) - set(SLATE_SPLITS):
            raise InputError(f"--splits {' '.join(self.splits)}: expected one or more of {', '.join(SLATE_SPLITS)}")
        if self.protocol == "next":
            if self.shuffle:
                raise InputError(
                    "--shuffle true: expected --protocol later or impressions; of next the input order is the baseline"
                )
            return
        for name in ("depth", "keep_missed", "max_positions"):
            if vars(self)[name]:
                raise InputError(f"--{name} {vars(self)[name]}: expected --protocol next, which alone has it")
        if self.train_horizon > 1:
            raise InputError(f"--train_horizon {self.train_horizon}: expected --protocol next, which alone has it")
        if {"file", "beam"} & set(self.pre_ranker):
            raise InputError(
                f"--pre_ranker {' '.join(self.pre_ranker)}: expected others than file and beam: protocol "
                f"{self.protocol} needs a score of every item"
            )
        if self.protocol == "later" and self.relevant >= self.candidates:
            raise InputError(f"--relevant {self.relevant}: expected fewer than --candidates, {self.candidates}")


def check_pre_rankers(config: Config) -> None:
    """InputError unless every pre-ranker is known and has the files and options that it needs."""
    names = config.pre_ranker
    if not names or set(names) - set(PRE_RANKERS) or len(set(names)) < len(names):
        raise InputError(f"--pre_ranker {' '.join(names)}: expected one or more of {', '.join(PRE_RANKERS)}, each once")
    if "file" in names and (not config.top_k or len(names) > 1):
        raise InputError(
            f"--pre_ranker {' '.join(names)}: expected --top_k FILE with user_id, position, candidates, and no other "
            "pre-ranker"
        )
    if config.top_k and "file" not in names:
        raise InputError(f"--top_k {config.top_k}: expected --pre_ranker file, which alone reads it")
    if "sasrec" in names and not config.sasrec:
        raise InputError("--pre_ranker sasrec: expected --sasrec FOLDER, as `gr2 sasrec` wrote it")
    if "beam" in names:
        config.check_beam(config.history)


def run(config: Config) -> None:
    """Reads items, interactions and what the pre-rankers need; writes slates.parquet, slates_report.json and, with
    --depth, top_k.parquet; prints counts by split.
    """
    # read
    log = read_events(config.items, config.interactions)
    # slates
    top_k = None
    if config.protocol == "next":
        frame, report, top_k = next_slates(config, log)
    else:
        frame, report = protocol_slates(config, log)
    refuse_none(config, report)
    output = Path(config.output_dir)
    check_slates(frame, output / "slates.parquet", log.item_ids)
    # write
    if top_k is not None:
        write_parquet(top_k, output / "top_k.parquet")
    write_parquet(frame, output / "slates.parquet")
    exclude_seen = None if "file" in config.pre_ranker else config.exclude_seen  # a file's maker decided
    made = {"pre_ranker": " + ".join(config.pre_ranker), "candidates": config.candidates}
    write_json(output / "slates_report.json", made | {"exclude_seen": exclude_seen, "splits": report})
    for name, counts in report.items():
        left_out = ", ".join(f"{count} {kind}" for kind, count in counts.items() if kind not in ("positions", "slates"))
        print(f"{name}: {counts['slates']} slates of {counts['positions']} positions; {left_out}")


def pre_rankers(config: Config) -> PreRankers:
    beam = (config.model_name_or_path, config.semantic_ids, config.beams, config.window, config.batch_size)
    return PreRankers(config.pre_ranker, config.history, config.exclude_seen, config.sasrec, *beam)


def next_slates(config: Config, log: EventLog) -> tuple[pl.DataFrame, dict, pl.DataFrame | None]:
    """The content of slates.parquet, counts by split, and with --depth the content of top_k.parquet."""
    positions = select_positions(log.events, config.splits, config.max_positions)
    if not len(positions.queries):
        raise InputError(f"{log.path}: expected positions of {', '.join(config.splits)} with a past, found none")
    count = max(config.candidates, config.depth or 0)
    if "file" in config.pre_ranker:
        top, scores = read_lists(config.top_k, positions.frame, log.item_ids, count)
    else:
        top, scores = draw_lists(pre_rankers(config), log, positions, count)
    wanted = find_wanted(log.events, positions.frame, config.train_horizon)
    candidates = top[:, : config.candidates], scores[:, : config.candidates]
    frame, report = next_item_slates(positions, candidates, log.item_ids, wanted, config.history, config.keep_missed)
    if not config.depth:
        return frame, report, None
    lists = top[:, : config.depth], scores[:, : config.depth]
    return frame, report, top_k_table(positions.frame, lists, log.item_ids)


def protocol_slates(config: Config, log: EventLog) -> tuple[pl.DataFrame, dict]:
    chosen, shuffle = pre_rankers(config), config.seed if config.shuffle else None
    if config.protocol == "later":
        return later_slates(log, chosen, config.splits, config.relevant, config.candidates, shuffle)
    return impression_slates(log, chosen, config.splits, config.candidates, config.liked, shuffle)


def refuse_none(config: Config, report: dict) -> None:
    """InputError where no position makes a slate, with the counts."""
    if any(counts["slates"] for counts in report.values()):
        return
    positions, missed, short = (
        sum(counts[name] for counts in report.values()) for name in ("positions", "missed", "short")
    )
    raise InputError(
        f"the pre-ranker {' + '.join(config.pre_ranker)} made no slate of {positions} positions: it missed the target "
        f"at {missed}, and had fewer than --candidates {config.candidates} items at {short}; expected a longer "
        "training, more candidates where targets are missed, fewer where lists are short"
    )
