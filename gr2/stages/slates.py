"""gr2 slates: interactions + pre-rankers -> slates.parquet, the lists to rerank; with --depth also top_k.parquet.

A slate is made at a train, valid or test position: the history before it, the pre-ranker's top K, and which of them the
user chose next. A position whose target is not among the K is `missed`, one with fewer than K items is `short`: both
are counted and left out (GR2 does the same); --keep_missed keeps the missed of the train split. Lists of gr2's own
pre-rankers are short only where the catalogue has no more items for the user. With --train_horizon several of a train
slate's items are relevant, the user's next ones in any order (ours: where events come in baskets, which of them is next
says little). Lists of several pre-rankers are fused by reciprocal rank (`retrieval.classic.fuse`).
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.columns import write_parquet
from gr2.files.items import read_items
from gr2.files.names import column_names
from gr2.files.slates import SLATE_SPLITS, check_slates
from gr2.options.declare import arg
from gr2.retrieval import classic, on_ray
from gr2.retrieval.lists import draw_lists, read_lists
from gr2.retrieval.next_item import find_wanted, next_item_slates, top_k_table
from gr2.retrieval.positions import EventLog, read_events, select_positions
from gr2.retrieval.protocols import impression_slates, later_slates
from gr2.retrieval.queries import Queries, Ranker, Top
from gr2.retrieval.report import add_recall, describe_counts, refuse_none
from gr2.retrieval.sources import find_sources
from gr2.stages.shared import Workers
from gr2.stages.slates_options import PreRankerOptions, Protocol

WRITES = ("slates.parquet", "slates_report.json", "top_k.parquet")
FUSED = 50  # smallest depth of each list that is fused


@dataclass(kw_only=True)
class Config(PreRankerOptions, Protocol, Workers):
    items: str = arg(help="items.parquet", path="items.parquet")
    interactions: str = arg(help="interactions.parquet of `gr2 prepare`", path="interactions.parquet")
    output_dir: str = arg(help="folder for slates.parquet and slates_report.json")
    engine: Literal["local", "ray"] = arg("local", "local: one process; ray: the machines of a cluster make the lists")
    candidates: int = arg(10, "items per slate (GR2: 10)", least=1)
    depth: int | None = arg(
        None, "also write top_k.parquet, the first DEPTH items at every position, for `gr2 evaluate-retrieval`", least=1
    )
    splits: list[str] = arg(list(SLATE_SPLITS), "splits whose positions get slates; or pretrain, for demonstrations")
    keep_missed: bool = arg(
        False, "also keep train slates that miss the target, all labels 0: a teacher knows an order"
    )
    train_horizon: int = arg(1, "train: candidates among the next TRAIN_HORIZON train events are relevant", least=1)
    max_positions: int | None = arg(
        None, "keep only each user's latest MAX_POSITIONS positions per split; default: all", least=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_later(self.candidates)
        self.check_splits(self.splits)
        if self.engine == "ray" and (self.protocol != "next" or "file" in self.pre_ranker):
            raise InputError("--engine ray: expected --protocol next and pre-rankers other than file")
        if self.protocol == "next":
            if self.shuffle:
                reason = "with next, the input order is the baseline"
                raise InputError(f"--shuffle true: expected --protocol later or impressions; {reason}")
            return
        for name, default in (("depth", None), ("keep_missed", False), ("max_positions", None), ("train_horizon", 1)):
            if vars(self)[name] != default:
                raise InputError(f"--{name} {vars(self)[name]}: expected --protocol next, which alone has it")
        if {"file", "beam"} & set(self.pre_ranker):
            reason = f"protocol {self.protocol} needs a score of every item"
            raise InputError(f"--pre_ranker {' '.join(self.pre_ranker)}: expected others than file and beam: {reason}")


def run(config: Config) -> None:
    """Reads items, interactions and what the pre-rankers need; writes slates.parquet, slates_report.json and, with
    --depth, top_k.parquet; prints counts by split.
    """
    # read
    log = read_events(config.items, config.interactions)
    # slates
    frame, report, top_k = next_slates(config, log) if config.protocol == "next" else protocol_slates(config, log)
    refuse_none(report, " + ".join(config.pre_ranker), config.candidates)
    output, frame = Path(config.output_dir), frame.with_columns(pl.col("split").replace("pretrain", "train"))
    check_slates(frame, output / "slates.parquet", log.item_ids)
    # write
    if top_k is not None:
        write_parquet(top_k, output / "top_k.parquet")
    write_parquet(frame, output / "slates.parquet")
    made = {"protocol": config.protocol, "pre_ranker": " + ".join(config.pre_ranker), "candidates": config.candidates}
    write_json(output / "slates_report.json", made | {"exclude_seen": exclude_history(config), "splits": report})
    for name, counts in report.items():
        print(describe_counts(name, counts, config.candidates))


def exclude_history(config: Config) -> bool | None:
    """None for lists of a file, where their maker decided."""
    return None if "file" in config.pre_ranker else config.exclude_seen


def next_slates(config: Config, log: EventLog) -> tuple[pl.DataFrame, dict, pl.DataFrame | None]:
    """The content of slates.parquet, counts by split, and with --depth the content of top_k.parquet."""
    positions = select_positions(log.events, config.splits, config.max_positions)
    if not len(positions.queries):
        raise InputError(f"{log.path}: expected positions of {', '.join(config.splits)} with a past, found none")
    count = max(config.candidates, config.depth or 0)
    if "file" in config.pre_ranker:
        (top, scores), sources = read_lists(config.top_k, positions.frame, log, count, column_names(config.columns))
    else:
        (top, scores), sources = pre_rank(config, log, positions.queries, count)
    wanted = find_wanted(log.events, positions.frame, config.train_horizon)
    candidates = top[:, : config.candidates], scores[:, : config.candidates]
    kept = config.history, config.keep_missed
    frame, report = next_item_slates(positions, candidates, sources, log.item_ids, wanted, *kept)
    report = add_recall(report, log, positions, candidates[0], exclude_history(config), config.train_horizon)
    if not config.depth:
        return frame, report, None
    lists = top[:, : config.depth], scores[:, : config.depth]
    return frame, report, top_k_table(positions.frame, lists, sources, log.item_ids)


def pre_rank(config: Config, log: EventLog, queries: Queries, count: int) -> tuple[Top, pl.Series | None]:
    """The pre-ranker's lists, filled up; of several the fused ones, and what each of them gave (`find_sources`)."""
    several = len(config.pre_ranker) > 1
    depth = max(count, FUSED) if several else count
    by_ranker = {name: draw(name, config, log, queries, depth) for name in config.pre_ranker}
    lists = classic.fuse_lists(list(by_ranker.values()), count) if several else by_ranker[config.pre_ranker[0]]
    top, scores = classic.fill_by_popularity(lists, queries, log.counts(), config.exclude_seen)
    return (top, scores), find_sources(top, by_ranker) if several else None


def draw(name: str, config: Config, log: EventLog, queries: Queries, depth: int) -> Top:
    """One pre-ranker's lists, from this process or from Ray's workers."""
    if config.engine == "local":
        return draw_lists(open_ranker(name, config, log, depth), queries, len(log.item_ids))
    opener = partial(open_alone, name, config, depth)
    return on_ray.draw_lists(opener, queries, len(log.item_ids), config.workers, config.gpus_per_worker)


def open_alone(name: str, config: Config, depth: int) -> tuple[Ranker, np.ndarray]:
    """The pre-ranker in a process of its own, and the items of the events that its queries are about."""
    log = read_events(config.items, config.interactions)
    return open_ranker(name, config, log, depth), log.events["row"].to_numpy()


def protocol_slates(config: Config, log: EventLog) -> tuple[pl.DataFrame, dict, None]:
    """As `next_slates`, without a top_k.parquet."""
    rank = make_ranker(config, log, len(log.item_ids))
    shared = (log, rank, config.history, config.splits, config.seed if config.shuffle else None)
    if config.protocol == "impressions":
        return *impression_slates(*shared, config.candidates, config.liked), None
    matched = config.seed if config.others == "matched" else None
    sizes = config.relevant, config.candidates, config.train_stride or config.relevant
    return *later_slates(*shared, *sizes, matched), None


def make_ranker(config: Config, log: EventLog, count: int) -> Ranker:
    """The pre-ranker, or the fusion of several."""
    if len(config.pre_ranker) == 1:
        return open_ranker(config.pre_ranker[0], config, log, count)
    depth = max(count, FUSED)
    return classic.fuse([open_ranker(name, config, log, depth) for name in config.pre_ranker], count)


def open_ranker(name: str, config: Config, log: EventLog, count: int) -> Ranker:
    """A pre-ranker by name; all learn from pretrain events alone."""
    exclude_seen = config.exclude_seen
    if name == "popularity":
        return classic.popularity(log.counts(), count, exclude_seen)
    if name == "item_knn":
        pretrain = log.pretrain()
        users = pretrain["user_id"].rle_id().to_numpy()  # events come user by user
        items = pretrain["row"].to_numpy()
        return classic.item_knn(users, items, len(log.item_ids), config.history, count, exclude_seen)
    if name == "bm25":
        return classic.bm25(read_items(log.items)["title"].to_list(), config.history, count, exclude_seen)
    if name == "sasrec":
        from gr2.retrieval import sasrec

        return sasrec.ranker(sasrec.load(config.sasrec, log.item_ids), count, exclude_seen)
    assert name == "beam"
    from gr2.retrieval import beam

    sizes = {"history": config.history, "window": config.window, "batch_size": config.batch_size}
    catalogue = read_catalogue(log.items, config.semantic_ids)
    sizes |= {"count": count, "beams": max(config.beams, count)}
    return beam.ranker(catalogue, config.model_name_or_path, exclude_seen=exclude_seen, **sizes)
