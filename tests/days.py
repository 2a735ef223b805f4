"""A tiny shop whose events and items come day by day, and a recipe for it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import yaml

from gr2.runner.recipe import read_recipe, shipped_recipes
from tests.helpers import raw_tables

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = ("2026-03-01", "2026-03-02", "2026-03-03")
NEW = [f"film{number}" for number in range(44, 48)]  # in the catalogue from the second day on
RECIPE = {
    "base": "daily",
    "variables": {"data": "days", "runs": "runs"},
    "stages": {
        "prepare": {"items": "{data}/{day}/items.csv", "interactions": "{data}/{day}/events.csv", "train_share": 0.4,
                    "valid_share": 0.1},
        "embed": {"model_name_or_path": "encoder"},
        "sids": {"levels": 2, "codes": 8},
        "slates": {"pre_ranker": "popularity", "exclude_seen": False},
    },
}  # fmt: skip

LEARNED = {  # the stages of a language model that is taught by a small reranker, instead of `candidate`
    "small": {"stage": "fit blend"},
    "teacher": {"stage": "rerank", "reranker": "small", "split": "train"},
    "candidate": {"stage": "sft", "model_name_or_path": "{old}", "teacher": "teacher", "max_steps": 3, "bf16": False},
    "rerank_new": {"reranker": "candidate", "order": "first"},
    "rerank_old": {"reranker": "{old}", "order": "first"},
}


def language_model_recipe() -> dict:
    """The recipe daily with the shop's changes and LEARNED."""
    daily = read_recipe(shipped_recipes()["daily"])
    data = {name: daily["stages"][name] | RECIPE["stages"][name] for name in ("prepare", "embed", "sids", "slates")}
    variables = daily["variables"] | RECIPE["variables"]
    stages = data | LEARNED | {"promote": daily["stages"]["promote"]}
    return {"folder": daily["folder"], "variables": variables, "defaults": {"prompt": "student_no_trace"},
            "stages": stages}  # fmt: skip


def make_shop(folder: Path) -> None:
    """The recipe, a text encoder of words without a network, and the first day."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding

    from gr2.language_model.scratch import train_tokenizer

    folder.mkdir(parents=True)
    (folder / "shop.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    tokenizer = train_tokenizer(raw_tables()[0]["title"].to_list(), 300)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer.backend_tokenizer, embedding_dim=16)]).save(
        str(folder / "encoder")
    )
    write_day(folder, 0)


def write_day(folder: Path, number: int, gone: tuple[str, ...] = (), most_events: int | None = None) -> Path:
    """The folder of a day: the catalogue without what has gone, and the day's events, of the first day all before, too.

    Users have 16 events before the first day, then three on each day.
    """
    items, events = day_tables(number)
    day = folder / "days" / DAYS[number]
    day.mkdir(parents=True, exist_ok=True)
    items.filter(~pl.col("item_id").is_in(gone)).write_csv(day / "items.csv")
    events.head(most_events if most_events is not None else len(events)).write_csv(day / "events.csv")
    return day


def day_tables(number: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    items, events = raw_tables()
    at = pl.int_range(pl.len()).over("user_id")  # of 24
    day = ((at - 16) // 3).clip(0, 2)
    events = events.with_columns(at.alias("at"), day.alias("day"))
    events = events.with_columns(timestamp=int(FIRST.timestamp()) + (pl.col("at") - 16) * 8 * 3600 + 600)
    here = events.filter(pl.col("day") == number).drop("at", "day")
    if number:
        return items, here
    late = pl.col("item_id").is_in(NEW)
    return items.filter(~late), here.filter(~late)


def start_of(number: int) -> int:
    return int((FIRST + timedelta(days=number)).timestamp())
