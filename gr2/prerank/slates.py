"""gr2 slates: interactions + pre-rankers -> slates.parquet, the lists to rerank; with --depth also top_k.parquet.

A slate is made at a train, valid or test position: the history before it, the pre-ranker's top K, and which of them
the user chose next. A position whose target is not among the K is `missed`, one with fewer than K items is `short`: both
are counted and left out (GR2 does the same); --keep_missed keeps the missed of the train split. Lists of gr2's own
pre-rankers are short only where the catalogue has no more items for the user. With --train_horizon several of a train
slate's items are relevant, the user's next ones in any order (ours: where events come in baskets, which of them is next
says little). Lists of several pre-rankers are fused by reciprocal rank (`prerank.simple.fused`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from gr2.artifacts import write_json
from gr2.config import arg
from gr2.data.columns import write_parquet
from gr2.data.tables import SLATE_SPLITS, check_slates, read_interactions, read_items
from gr2.errors import InputError
from gr2.prerank.lists import PRE_RANKERS, listed
from gr2.prerank.positions import Positions, asked, numbered
from gr2.prerank.protocols import protocol_slates


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
    candidates: int = arg(10, "items a slate holds (GR2: 10)", least=1)
    depth: int | None = arg(
        None,
        "also write top_k.parquet, the first DEPTH items at every position, for `gr2 evaluate --top_k`; beam searches at least "
        "as wide",
        least=1,
    )
    beams: int = arg(20, "beam: width of the search, at least `candidates`", least=1)
    history: int = arg(
        20, "most recent items of the user that a slate holds, and that beam, item_knn and bm25 look at", least=1
    )
    exclude_seen: bool = arg(
        True, "list no item that the user's whole past holds; turn off where users come back to items"
    )
    window: int = arg(40, "beam: the most past items that are read, at least `history`; as in mid-training", least=1)
    batch_size: int = arg(16, "beam: stretches of `window` items a batch", least=1)
    splits: list[str] = arg(list(SLATE_SPLITS), "positions of these splits")
    protocol: Literal["next", "later", "impressions"] = arg(
        "next", "next: one relevant item, the next; later, impressions: several (gr2/prerank/protocols.py)"
    )
    relevant: int = arg(
        6, "protocol later: the next RELEVANT items are relevant, and candidates whatever the pre-ranker says", least=1
    )
    liked: float = arg(
        4.0, "protocol impressions: relevant are items with this rating or a better one", least=-1e9, most=1e9
    )
    shuffle: bool = arg(
        False,
        "later, impressions: candidates in random order, without scores: neither says whom the pre-ranker would have left out",
    )
    seed: int = arg(0, "of that order")
    keep_missed: bool = arg(False, "also keep train slates without the target, labels all 0, for what needs no label")
    train_horizon: int = arg(
        1, "train: candidates among the user's next TRAIN_HORIZON train events are relevant", least=1
    )
    max_positions: int | None = arg(
        None, "the latest MAX_POSITIONS positions of a user in each split; none: all", least=1
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
            raise InputError(f"--pre_ranker {' '.join(self.pre_ranker)}: expected others than file and beam: protocol "
                             f"{self.protocol} needs a score of every item")  # fmt: skip
        if self.protocol == "later" and self.relevant >= self.candidates:
            raise InputError(f"--relevant {self.relevant}: expected fewer than --candidates, {self.candidates}")


def check_pre_rankers(config: Config) -> None:
    """InputError unless every pre-ranker is known and has the files and options that it needs."""
    names = config.pre_ranker
    if not names or set(names) - set(PRE_RANKERS) or len(set(names)) < len(names):
        raise InputError(f"--pre_ranker {' '.join(names)}: expected one or more of {', '.join(PRE_RANKERS)}, each once")
    if "file" in names and (not config.top_k or len(names) > 1):
        raise InputError(f"--pre_ranker {' '.join(names)}: expected --top_k FILE with user_id, position, candidates, and no "
                         "other pre-ranker")  # fmt: skip
    if config.top_k and "file" not in names:
        raise InputError(f"--top_k {config.top_k}: expected --pre_ranker file, which alone reads it")
    if "sasrec" in names and not config.sasrec:
        raise InputError("--pre_ranker sasrec: expected --sasrec FOLDER, as `gr2 sasrec` wrote it")
    if "beam" in names:
        if not config.model_name_or_path or not config.semantic_ids:
            raise InputError(
                "--pre_ranker beam: expected --model_name_or_path, the mid-trained model, and --semantic_ids"
            )
        if config.window < config.history:
            raise InputError(f"--window {config.window}: expected at least --history, {config.history}")


def run(config: Config) -> None:
    item_ids = read_items(config.items)["item_id"]
    events = numbered(read_interactions(config.interactions, item_ids), config.interactions, item_ids)
    output = Path(config.output_dir)
    top_k = None
    if config.protocol == "next":
        frame, report, top_k = next_slates(config, events, item_ids)
    else:
        frame, report = protocol_slates(config, events, item_ids)
    refuse_none(config, report)
    check_slates(frame, output / "slates.parquet", item_ids)
    if top_k is not None:
        write_parquet(top_k, output / "top_k.parquet")
    write_parquet(frame, output / "slates.parquet")
    exclude_seen = None if "file" in config.pre_ranker else config.exclude_seen  # what is in a file is up to its maker
    write_json(output / "slates_report.json",
               {"pre_ranker": " + ".join(config.pre_ranker), "candidates": config.candidates,
                "exclude_seen": exclude_seen, "splits": report})  # fmt: skip
    for name, counts in report.items():
        left_out = ", ".join(f"{count} {kind}" for kind, count in counts.items() if kind not in ("positions", "slates"))
        print(f"{name}: {counts['slates']} slates of {counts['positions']} positions; {left_out}")


def refuse_none(config: Config, report: dict) -> None:
    """InputError where nothing came of any position, with what was counted."""
    if any(counts["slates"] for counts in report.values()):
        return
    positions, missed, short = (
        sum(counts[name] for counts in report.values()) for name in ("positions", "missed", "short")
    )
    raise InputError(
        f"the pre-ranker {' + '.join(config.pre_ranker)} made no slate of {positions} positions: it missed the target at "
        f"{missed}, and had fewer than --candidates {config.candidates} items at {short}; expected a longer training, more "
        "candidates where targets are missed, fewer where lists are short"
    )


def next_slates(
    config: Config, events: pl.DataFrame, item_ids: pl.Series
) -> tuple[pl.DataFrame, dict, pl.DataFrame | None]:
    """The content of slates.parquet, counts by split, and with `depth` the content of top_k.parquet."""
    positions = asked(events, config.splits, config.max_positions)
    count = max(config.candidates, config.depth or 0)
    top, scores = listed(config, events, positions, item_ids, count)
    labels = labelled(top[:, : config.candidates], wanted(events, positions.frame, config.train_horizon))
    report, kept = hits(positions.frame, top[:, : config.candidates], labels)
    if config.keep_missed:
        kept |= (positions.frame["split"] == "train").to_numpy() & (top[:, : config.candidates] >= 0).all(1)
    chosen = Positions(positions.frame.filter(kept), positions.queries.only(kept))
    frame = slates_frame(config, chosen, top[kept], scores[kept], labels[kept], item_ids)
    depth = config.depth and top_k_frame(positions.frame, top[:, : config.depth], scores[:, : config.depth], item_ids)
    return frame, report, depth


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
    full, held = (top >= 0).all(1), labels.any(1)
    counts = frame.select("split").with_columns(short=pl.Series(~full), missed=pl.Series(full & ~held))
    report = {}
    for name in SLATE_SPLITS:
        own = counts.filter(pl.col("split") == name)
        short, missed = int(own["short"].sum()), int(own["missed"].sum())
        report[name] = {"positions": len(own), "missed": missed, "short": short, "slates": len(own) - missed - short}
    return report, full & held


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
