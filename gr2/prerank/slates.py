"""gr2 slates: interactions + a pre-ranker -> slates.parquet, the lists to rerank.

A slate is made at a train, valid or test position: the history before it, the pre-ranker's top K, and which of them
the user chose next. Slates whose target is not among the K are counted and left out (GR2 does the same).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from gr2.artifacts import write_json
from gr2.config import arg
from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.data.splits import popularity
from gr2.data.tables import SLATE_SPLITS, read_interactions, read_slates, read_table, require_columns, write_parquet
from gr2.errors import InputError
from gr2.prerank.rankers import beam_ranker, popularity_ranker


@dataclass
class Config:
    items: str = arg(help="items.parquet")
    interactions: str = arg(help="interactions.parquet of `gr2 prepare`")
    semantic_ids: str = arg(help="semantic_ids.parquet")
    output_dir: str = arg(help="folder for slates.parquet and slates_report.json")
    pre_ranker: Literal["beam", "popularity", "file"] = arg("beam", "who makes the lists; `file`: your own ranker's, see --top_k")
    model_name_or_path: str | None = arg(None, "beam: the mid-trained model")
    top_k: str | None = arg(None, "file: a table with user_id, position, candidates and optional scores")
    candidates: int = arg(10, "items a slate holds (GR2: 10)")
    beams: int = arg(20, "beam: width of the search; more than `candidates` leaves room for dropped items")
    history: int = arg(20, "most recent items of the user that a slate holds")
    exclude_seen: bool = arg(True, "drop items that the user's whole past holds; turn off where users come back to items")
    batch_size: int = arg(64, "beam: prompts a batch")
    max_positions: int | None = arg(None, "at most so many positions a split and user, the latest; none: all")


def run(config: Config) -> None:
    catalogue = read_catalogue(config.items, config.semantic_ids)
    events = read_interactions(config.interactions, catalogue.item_ids)
    require_columns(events, config.interactions, ("split", "position"))
    positions = slate_positions(events, config.max_positions)
    pasts = positions["past"].to_list()
    tops = list(pre_rank(config, events, positions, pasts, catalogue))
    rows, report = [], {name: {"positions": 0, "missed": 0, "slates": 0} for name in SLATE_SPLITS}
    for position, past, (candidates, scores) in zip(positions.iter_rows(named=True), pasts, tops, strict=True):
        counts = report[position["split"]]
        counts["positions"] += 1
        if position["item_id"] not in candidates or len(candidates) < config.candidates:
            counts["missed"] += 1
            continue
        counts["slates"] += 1
        rows.append({
            "slate_id": f"{position['user_id']}-{position['position']}",
            "user_id": position["user_id"],
            "history": past[-config.history :],
            "candidates": candidates,
            "labels": [float(item_id == position["item_id"]) for item_id in candidates],
            "scores": scores,
            "split": position["split"],
        })  # fmt: skip
    if not rows:
        raise InputError(f"the pre-ranker {config.pre_ranker} found no target among its top {config.candidates} at any of "
                         f"{len(pasts)} positions; train it longer or raise --candidates")  # fmt: skip
    output = Path(config.output_dir)
    write_parquet(pl.DataFrame(rows), output / "slates.parquet")
    read_slates(output / "slates.parquet", catalogue.item_ids)
    write_json(output / "slates_report.json",
               {"pre_ranker": config.pre_ranker, "candidates": config.candidates, "exclude_seen": config.exclude_seen,
                "splits": report})  # fmt: skip
    for name, counts in report.items():
        print(f"{name}: {counts['slates']} slates; the target was missed at {counts['missed']} of {counts['positions']} positions")


def slate_positions(events: pl.DataFrame, max_positions: int | None) -> pl.DataFrame:
    """One row per train, valid or test event, with `past`: all items of the user before it, oldest first."""
    events = events.sort("user_id", "position")
    whole = events.group_by("user_id", maintain_order=True).agg(pl.col("item_id").alias("past"))
    positions = events.with_columns(pl.int_range(pl.len()).over("user_id").alias("rank")).filter(
        (pl.col("split") != "pretrain") & (pl.col("rank") > 0)
    )
    if max_positions is not None:
        positions = positions.filter(pl.int_range(pl.len(), 0, -1).over("user_id", "split") <= max_positions)
    positions = positions.join(whole, on="user_id", maintain_order="left")
    return positions.with_columns(pl.col("past").list.head(pl.col("rank"))).drop("rank")


def pre_rank(config: Config, events: pl.DataFrame, positions: pl.DataFrame, pasts: list[list[str]], catalogue: Catalogue):
    """The pre-ranker's (candidates, scores) at each position."""
    if config.pre_ranker == "popularity":
        seen = pasts if config.exclude_seen else [[] for _ in pasts]
        return popularity_ranker(seen, popularity(events), config.candidates)
    if config.pre_ranker == "file":
        return own_top_k(config, positions, catalogue)
    if not config.model_name_or_path:
        raise InputError("pre_ranker beam: expected --model_name_or_path, the mid-trained model")
    return beam_ranker(pasts, catalogue, config.model_name_or_path, config.candidates, config.beams, config.batch_size,
                       config.exclude_seen, config.history)  # fmt: skip


def own_top_k(config: Config, positions: pl.DataFrame, catalogue: Catalogue) -> list[tuple[list[str], list[float]]]:
    """An existing ranker's lists, by user_id and position; a position without a list counts as missed."""
    if not config.top_k:
        raise InputError("pre_ranker file: expected --top_k FILE with user_id, position, candidates")
    table = read_table(config.top_k)
    require_columns(table, config.top_k, ("user_id", "position", "candidates"))
    known = set(catalogue.item_ids)
    by_position = {}
    for row, entry in enumerate(table.iter_rows(named=True)):
        candidates = [str(item_id) for item_id in entry["candidates"]]
        if len(set(candidates)) != len(candidates) or not known.issuperset(candidates):
            raise InputError(f"{config.top_k}: row {row}, column 'candidates': expected distinct items of the items file")
        scores = entry.get("scores") or [float(-rank) for rank in range(len(candidates))]
        kept = config.candidates
        by_position[str(entry["user_id"]), int(entry["position"])] = candidates[:kept], list(map(float, scores[:kept]))
    keys = positions.select("user_id", "position").iter_rows()
    return [by_position.get(key, ([], [])) for key in keys]
