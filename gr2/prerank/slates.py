"""gr2 slates: interactions + a pre-ranker -> slates.parquet, the lists to rerank.

A slate is made at a train, valid or test position: the history before it, the pre-ranker's top K, and which of them
the user chose next. Slates whose target is not among the K are counted and left out (GR2 does the same).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from gr2.artifacts import write_json
from gr2.config import arg
from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.data.splits import popularity
from gr2.data.tables import (
    SLATE_SPLITS,
    as_id,
    list_casts,
    read_interactions,
    read_slates,
    read_table,
    refuse_rows,
    require_columns,
    whole_numbers,
    write_parquet,
)  # fmt: skip
from gr2.errors import InputError
from gr2.prerank.rankers import Query, beam_ranker, popularity_ranker


@dataclass
class Config:
    items: str = arg(help="items.parquet")
    interactions: str = arg(help="interactions.parquet of `gr2 prepare`")
    semantic_ids: str = arg(help="semantic_ids.parquet")
    output_dir: str = arg(help="folder for slates.parquet and slates_report.json")
    pre_ranker: Literal["beam", "popularity", "file"] = arg(
        "beam", "who makes the lists; `file`: your own ranker's, see --top_k"
    )
    model_name_or_path: str | None = arg(None, "beam: the mid-trained model")
    top_k: str | None = arg(None, "file: a table with user_id, position, candidates and optional scores")
    candidates: int = arg(10, "items a slate holds (GR2: 10)")
    beams: int = arg(20, "beam: width of the search; more than `candidates` leaves room for dropped items")
    history: int = arg(20, "most recent items of the user that a slate holds")
    exclude_seen: bool = arg(
        True, "drop items that the user's whole past holds; turn off where users come back to items"
    )
    window: int = arg(40, "beam: at most so many past items are read, at least `history`; as in mid-training")
    batch_size: int = arg(16, "beam: stretches of `window` items a batch")
    max_positions: int | None = arg(None, "at most so many positions a split and user, the latest; none: all")


def run(config: Config) -> None:
    catalogue = read_catalogue(config.items, config.semantic_ids)
    events = read_interactions(config.interactions, catalogue.item_ids)
    require_columns(events, config.interactions, ("split", "position"))
    positions = slate_positions(events, config.max_positions)
    tops = list(pre_rank(config, events, positions, catalogue))
    rows, report = [], {name: {"positions": 0, "missed": 0, "slates": 0} for name in SLATE_SPLITS}
    for position, (candidates, scores) in zip(positions.iter_rows(named=True), tops, strict=True):
        counts = report[position["split"]]
        counts["positions"] += 1
        if position["item_id"] not in candidates or len(candidates) < config.candidates:
            counts["missed"] += 1
            continue
        counts["slates"] += 1
        rows.append({
            "slate_id": f"{position['user_id']}-{position['position']}",
            "user_id": position["user_id"],
            "history": position["items"][: position["rank"]][-config.history :],
            "candidates": candidates,
            "labels": [float(item_id == position["item_id"]) for item_id in candidates],
            "scores": scores,
            "split": position["split"],
        })  # fmt: skip
    if not rows:
        raise InputError(f"the pre-ranker {config.pre_ranker} found no target among its top {config.candidates} at any of "
                         f"{len(positions)} positions; train it longer or raise --candidates")  # fmt: skip
    output = Path(config.output_dir)
    write_parquet(pl.DataFrame(rows), output / "slates.parquet")
    read_slates(output / "slates.parquet", catalogue.item_ids)
    write_json(output / "slates_report.json",
               {"pre_ranker": config.pre_ranker, "candidates": config.candidates, "exclude_seen": config.exclude_seen,
                "splits": report})  # fmt: skip
    for name, counts in report.items():
        print(
            f"{name}: {counts['slates']} slates; the target was missed at {counts['missed']} of {counts['positions']} positions"
        )


def slate_positions(events: pl.DataFrame, max_positions: int | None) -> pl.DataFrame:
    """One row per train, valid or test event that has a past, by user and position, with `items`, all items of the
    user, oldest first, and `rank`, the event's place among them.
    """
    events = events.sort("user_id", "position").with_columns(pl.int_range(pl.len()).over("user_id").alias("rank"))
    whole = events.group_by("user_id", maintain_order=True).agg(pl.col("item_id").alias("items"))
    positions = events.filter((pl.col("split") != "pretrain") & (pl.col("rank") > 0))
    if max_positions is not None:
        positions = positions.filter(pl.int_range(pl.len(), 0, -1).over("user_id", "split") <= max_positions)
    return positions.join(whole, on="user_id", maintain_order="left")


def pre_rank(
    config: Config, events: pl.DataFrame, positions: pl.DataFrame, catalogue: Catalogue
) -> Iterable[tuple[list[str], list[float]]]:
    """The pre-ranker's (candidates, scores) at each position."""
    if config.pre_ranker == "file":
        return own_top_k(config, positions, catalogue)
    users = positions.group_by("user_id", maintain_order=True).agg(pl.col("items").first(), "rank")
    queries = [Query(items, ranks) for items, ranks in users.select("items", "rank").iter_rows()]
    if config.pre_ranker == "popularity":
        return popularity_ranker(queries, popularity(events), config.candidates, config.exclude_seen)
    if not config.model_name_or_path:
        raise InputError("pre_ranker beam: expected --model_name_or_path, the mid-trained model")
    return beam_ranker(
        queries,
        catalogue,
        config.model_name_or_path,
        candidates=config.candidates,
        beams=config.beams,
        history=config.history,
        window=config.window,
        batch_size=config.batch_size,
        exclude_seen=config.exclude_seen,
    )


def own_top_k(config: Config, positions: pl.DataFrame, catalogue: Catalogue) -> list[tuple[list[str], list[float]]]:
    """An existing ranker's lists, by user_id and position; a position without a list counts as missed."""
    if not config.top_k:
        raise InputError("pre_ranker file: expected --top_k FILE with user_id, position, candidates")
    table, path = read_table(config.top_k), config.top_k
    require_columns(table, path, ("user_id", "position", "candidates"))
    keys = as_id(table, path, "user_id").alias("user_id"), whole_numbers(table, path, "position").alias("position")
    table = table.with_columns(*keys, *list_casts(table, path))
    twice = ~table.select(pl.struct("user_id", "position").is_first_distinct()).to_series()
    refuse_rows(twice, path, "position", "one list per user and position", table["position"])
    candidates, sizes = table["candidates"], table["candidates"].list.len()
    known = candidates.list.eval(pl.element().is_in(catalogue.item_ids.implode()).fill_null(False)).list.all()
    good = known & (candidates.list.n_unique() == sizes)
    refuse_rows(~good, path, "candidates", "distinct items of the items file", candidates)
    lists = table.select("user_id", "position", "candidates").rows()
    scores = [[-float(rank) for rank in range(size)] for size in sizes]
    if "scores" in table.columns:
        fits = (table["scores"].list.len() == sizes) & table["scores"].list.eval(
            pl.element().is_finite().fill_null(False)
        ).list.all()
        refuse_rows(~fits, path, "scores", "a finite score per candidate", table["scores"])
        scores = table["scores"].to_list()
    kept = config.candidates
    by_position = {
        (user, at): (items[:kept], values[:kept]) for (user, at, items), values in zip(lists, scores, strict=True)
    }
    wanted = positions.select("user_id", "position").iter_rows()
    return [by_position.get(key, ([], [])) for key in wanted]
