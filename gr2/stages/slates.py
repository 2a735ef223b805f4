"""gr2 slates: interactions + pre-rankers -> slates.parquet, the lists to rerank; with --depth also top_k.parquet.

A slate is made at a train, valid or test position: the history before it, the pre-ranker's top K, and which of them
the user chose next. A position whose target is not among the K is `missed`, one with fewer than K items is `short`: both
are counted and left out (GR2 does the same); --keep_missed keeps the missed of the train split. Lists of gr2's own
pre-rankers are short only where the catalogue has no more items for the user. With --train_horizon several of a train
slate's items are relevant, the user's next ones in any order (ours: where events come in baskets, which of them is next
says little). Lists of several pre-rankers are fused by reciprocal rank (`prerank.simple.fused`).
"""

from pathlib import Path

import numpy as np
import polars as pl

from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.columns import write_parquet
from gr2.files.tables import SLATE_SPLITS, check_slates, read_interactions, read_items
from gr2.retrieval.lists import listed
from gr2.retrieval.positions import Positions, asked, numbered
from gr2.retrieval.protocols import protocol_slates
from gr2.stages.slates_options import Config

WRITES = ("slates.parquet", "slates_report.json", "top_k.parquet")


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
