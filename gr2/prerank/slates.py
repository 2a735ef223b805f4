"""gr2 slates: interactions + pre-rankers -> slates.parquet, the lists to rerank; with --depth also top_k.parquet.

A slate is made at a train, valid or test position: the history before it, the pre-ranker's top K, and which of them
the user chose next. Slates whose target is not among the K are counted and left out (GR2 does the same); --keep_missed
keeps those of the train split. With --train_horizon several of a train slate's items are relevant, the user's next ones in
any order (ours: where events come in baskets, which of them is next says little). Lists of several pre-rankers are fused
by reciprocal rank (`prerank.simple.fused`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gr2.artifacts import write_json
from gr2.config import arg
from gr2.data.columns import write_parquet
from gr2.data.tables import SLATE_SPLITS, read_interactions, read_items, read_slates
from gr2.errors import InputError
from gr2.prerank.lists import PRE_RANKERS, listed
from gr2.prerank.positions import Positions, asked, numbered
from gr2.prerank.protocols import PROTOCOLS, protocol_slates


@dataclass
class Config:
    items: str = arg(help="items.parquet", path=True)
    interactions: str = arg(help="interactions.parquet of `gr2 prepare`", path=True)
    output_dir: str = arg(help="folder for slates.parquet and slates_report.json")
    semantic_ids: str | None = arg(None, "beam: semantic_ids.parquet", path=True)
    pre_ranker: list[str] = arg(["beam"], f"who makes the lists: one or more of {', '.join(PRE_RANKERS)}")
    model_name_or_path: str | None = arg(None, "beam: the mid-trained model", path=True)
    sasrec: str | None = arg(None, "sasrec: the folder of `gr2 sasrec`", path=True)
    top_k: str | None = arg(
        None, "file: your own ranker's lists, a table with user_id, position, candidates, optional scores", path=True
    )
    candidates: int = arg(10, "items a slate holds (GR2: 10)")
    depth: int | None = arg(
        None,
        "also write top_k.parquet, so many items at every position, for `gr2 evaluate --top_k`; beam searches at least so wide",
    )
    beams: int = arg(20, "beam: width of the search; more than `candidates` leaves room for dropped items")
    history: int = arg(20, "most recent items of the user that a slate holds, and that beam, item_knn and bm25 look at")
    exclude_seen: bool = arg(
        True, "drop items that the user's whole past holds; turn off where users come back to items"
    )
    window: int = arg(40, "beam: at most so many past items are read, at least `history`; as in mid-training")
    batch_size: int = arg(16, "beam: stretches of `window` items a batch")
    splits: list[str] = arg(list(SLATE_SPLITS), "positions of these splits")
    protocol: str = arg(
        "next", "next: one relevant item, the next; later, impressions: several (gr2/prerank/protocols.py)"
    )
    relevant: int = arg(
        6, "protocol later: so many next items are relevant, and candidates whatever the pre-ranker says"
    )
    liked: float = arg(4.0, "protocol impressions: relevant are items rated so or better")
    shuffle: bool = arg(
        False,
        "later, impressions: candidates in random order, without scores: neither says whom the pre-ranker would have left out",
    )
    seed: int = arg(0, "of that order")
    keep_missed: bool = arg(False, "also keep train slates without the target, labels all 0, for what needs no label")
    train_horizon: int = arg(1, "train: candidates among the user's next so many train events are relevant")
    max_positions: int | None = arg(None, "at most so many positions a split and user, the latest; none: all")


def run(config: Config) -> None:
    check(config)
    item_ids = read_items(config.items)["item_id"]
    events = numbered(read_interactions(config.interactions, item_ids), config.interactions, item_ids)
    output = Path(config.output_dir)
    frame, report = (next_slates if config.protocol == "next" else protocol_slates)(config, events, item_ids)
    refuse_none(config, report)
    write_parquet(frame, output / "slates.parquet")
    read_slates(output / "slates.parquet", item_ids)
    exclude_seen = None if "file" in config.pre_ranker else config.exclude_seen  # what is in a file is up to its maker
    write_json(output / "slates_report.json",
               {"pre_ranker": " + ".join(config.pre_ranker), "candidates": config.candidates,
                "exclude_seen": exclude_seen, "splits": report})  # fmt: skip
    for name, counts in report.items():
        print(
            f"{name}: {counts['slates']} slates; the target was missed at {counts['missed']} of {counts['positions']} positions"
        )


def check(config: Config) -> None:
    if set(config.splits) - set(SLATE_SPLITS):
        raise InputError(f"--splits {' '.join(config.splits)}: expected some of {', '.join(SLATE_SPLITS)}")
    if config.protocol not in PROTOCOLS:
        raise InputError(f"--protocol {config.protocol}: expected one of {', '.join(PROTOCOLS)}")
    if config.shuffle and config.protocol == "next":
        raise InputError("--shuffle: expected protocol later or impressions; of next the input order is the baseline")
    if config.train_horizon < 1:
        raise InputError(f"--train_horizon {config.train_horizon}: expected 1, the next event, or more")


def refuse_none(config: Config, report: dict) -> None:
    if not any(counts["slates"] for counts in report.values()):
        raise InputError(f"the pre-ranker {' + '.join(config.pre_ranker)} found no target among its top {config.candidates} at "
                         f"any of {sum(counts['positions'] for counts in report.values())} positions; train it longer or raise "
                         "--candidates")  # fmt: skip


def next_slates(config: Config, events: pl.DataFrame, item_ids: pl.Series) -> tuple[pl.DataFrame, dict]:
    """The content of slates.parquet, and counts by split; with `depth` writes top_k.parquet."""
    positions = asked(events, config.splits, config.max_positions)
    count = max(config.candidates, config.depth or 0)
    top, scores = listed(config, events, positions, item_ids, count)
    labels = labelled(top[:, : config.candidates], wanted(events, positions.frame, config.train_horizon))
    report, kept = hits(positions.frame, top[:, : config.candidates], labels)
    refuse_none(config, report)
    if config.keep_missed:
        kept |= (positions.frame["split"] == "train").to_numpy() & (top[:, : config.candidates] >= 0).all(1)
    if config.depth:
        write_parquet(
            top_k_frame(positions.frame, top[:, : config.depth], scores[:, : config.depth], item_ids),
            Path(config.output_dir) / "top_k.parquet",
        )
    chosen = Positions(positions.frame.filter(kept), positions.queries.only(kept))
    return slates_frame(config, chosen, top[kept], scores[kept], labels[kept], item_ids), report


def wanted(events: pl.DataFrame, frame: pl.DataFrame, horizon: int) -> np.ndarray:
    """Item rows [positions, horizon]: what came at each position, and for train positions the train events after it; else -1."""
    after = events.filter(pl.col("split") == "train").select(
        "user_id",
        "position",
        *(pl.col("row").shift(-step).over("user_id").alias(str(step)) for step in range(1, horizon)),
    )
    rows = frame.select("user_id", "position", "row").join(
        after, on=["user_id", "position"], how="left", maintain_order="left"
    )
    return rows.drop("user_id", "position").fill_null(-1).to_numpy()


def labelled(top: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Item rows [n, K] and [n, horizon], -1 where there is none -> labels [n, K], 1 for the relevant."""
    return ((top >= 0) & (top[:, :, None] == wanted[:, None, :]).any(2)).astype(np.float64)


def hits(frame: pl.DataFrame, top: np.ndarray, labels: np.ndarray) -> tuple[dict, np.ndarray]:
    """Counts by split, and which positions make a slate: a full list that holds a relevant item."""
    held = labels.any(1)
    kept = held & (top >= 0).all(1)
    counts = frame.select("split").with_columns(pl.Series("held", held), pl.Series("kept", kept))
    report = {}
    for name in SLATE_SPLITS:
        own = counts.filter(pl.col("split") == name)
        slates = int(own["kept"].sum())
        report[name] = {"positions": len(own), "missed": len(own) - slates, "slates": slates}
    return report, kept


def slates_frame(
    config: Config, positions: Positions, top: np.ndarray, scores: np.ndarray, labels: np.ndarray, item_ids: pl.Series
) -> pl.DataFrame:
    """The content of slates.parquet."""
    frame, top = positions.frame, top[:, : config.candidates]
    return frame.select(
        pl.format("{}-{}", "user_id", "position").alias("slate_id"),
        "user_id",
        id_lists(positions.queries.history(config.history), item_ids).alias("history"),
        id_lists(top, item_ids).alias("candidates"),
        pl.Series("labels", labels).arr.to_list(),
        pl.Series("scores", scores[:, : config.candidates].astype(np.float64)).arr.to_list(),
        "split",
    )


def top_k_frame(frame: pl.DataFrame, top: np.ndarray, scores: np.ndarray, item_ids: pl.Series) -> pl.DataFrame:
    """The content of top_k.parquet, which `pre_ranker: file` reads too."""
    values = pl.Series("scores", np.where(top >= 0, scores, np.nan)).arr.to_list()
    return frame.select("user_id", "position", id_lists(top, item_ids).alias("candidates"),
                        values.list.eval(pl.element().filter(pl.element().is_not_nan())).cast(pl.List(pl.Float64)))  # fmt: skip


def id_lists(rows: np.ndarray, item_ids: pl.Series) -> pl.Series:
    """Item rows [n, K] -> lists of item ids, without the -1s."""
    flat = pl.Series(rows.ravel(), dtype=pl.Int32)
    names = item_ids.gather(flat.set(flat < 0, None))
    return names.reshape(rows.shape).arr.to_list().list.drop_nulls()
