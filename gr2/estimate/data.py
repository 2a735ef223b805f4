"""How much data a recipe's stages have: counted in files that are there, else assumed, and said so."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import polars as pl

from gr2.data.items import join_categories
from gr2.estimate.texts import Texts
from gr2.files.items import read_items
from gr2.options.values import read_value
from gr2.runner.plan import Stage

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Assumptions:
    """What is taken where no file says it yet: options of `gr2 estimate`."""

    slates: int = 10_000  # of each split
    history: int = 10  # items of a user
    events: int = 100_000  # that mid-training learns
    title_tokens: int = 16
    category_tokens: int = 8
    explanation_tokens: int = 80


@dataclass
class Data:
    """What stages read. `notes`: what was assumed, or counted, each once."""

    plan: list[Stage]
    assumed: Assumptions
    notes: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def assume(self, name: str, what: str) -> int:
        value = vars(self.assumed)[name]
        self.note(f"assumed: {value:,} {what} (--{name})")
        return value

    def stage(self, stage_id: str) -> Stage | None:
        return next((stage for stage in self.plan if stage.id == stage_id), None)

    def find(self, stage: Stage, name: str) -> Path | None:
        """The file of an input, or the one that the stage which is to write it will be made from; `gr2 prepare` reads
        files of many forms, and keeps only some of their rows.
        """
        path = " ".join(stage.options.get(name, []))
        if not path or Path(path).exists():
            return Path(path) if path else None
        source = self.stage(stage.sources.get(path, ""))
        return self.find(source, name) if source and source.command != "prepare" else None

    def find_latest(self, command: str) -> Stage | None:
        return next((stage for stage in reversed(self.plan) if stage.command == command), None)

    def count_slates(self, stage: Stage, split: str, labelled: bool = False) -> float:
        """Slates of a split; `labelled`: those with a relevant candidate."""
        file = self.find(stage, "slates")
        if not file:
            return self.assume("slates", "slates of each split")
        self.note(f"counted: slates in {file}")
        rows, relevant, _, _ = describe_slates(file).get(split, (0, 0, 0, 0))
        return relevant if labelled else rows

    def texts(self, stage: Stage) -> Texts:
        """The lengths of what a stage's model reads of a slate."""
        lists, ids, ids_file = self.find_latest("slates"), self.find_latest("sids"), self.find(stage, "semantic_ids")
        file = self.find(stage, "slates") or (lists and existing(lists.folder / "slates.parquet"))
        found = next(iter(describe_slates(file).values())) if file else None
        levels = count_levels(ids_file) if ids_file else int(number(ids, "levels", 4)) if ids else 4
        candidates = found[3] if found else number(lists, "candidates", 10) if lists else 10.0
        history = found[2] if found else self.assume("history", "items of a history")
        return Texts(candidates, history, levels, *self.measure_items(stage), self.assumed.explanation_tokens)

    def measure_items(self, stage: Stage) -> tuple[float, float]:
        """Tokens of a title, and of its category."""
        if items := self.find(stage, "items"):
            return measure_items(items)
        title = self.assume("title_tokens", "tokens of a title")
        return title, self.assume("category_tokens", "tokens of a category")

    def count_positions(self, stage: Stage) -> float:
        """Events at which `gr2 slates` makes a list."""
        file = self.find(stage, "interactions")
        splits = stage.options.get("splits", SPLITS)
        if file:
            return count_events(file)["split"].is_in(splits).sum()
        return len(splits) * self.assume("slates", "slates of each split")

    def count_history_tokens(self, stage: Stage, sid: int, window: int) -> float:
        """Tokens of one pass over all histories in windows: IDs, and three around each window."""
        file = self.find(stage, "interactions")
        if not file:
            return self.assume("events", "events that mid-training learns") * sid
        self.note(f"counted: events in {file}")
        pretrain = count_events(file).filter(pl.col("split") == "pretrain").group_by("user_id").len()["len"]
        pretrain = pretrain.filter(pretrain > 1)  # one event has nothing to predict
        return float(pretrain.sum() * sid + 3 * (pretrain / window).ceil().sum())


def existing(path: Path) -> Path | None:
    return path if path.exists() else None


def option_of(stage: Stage, name: str, default: object) -> str:
    """The value of an option that is no list."""
    return " ".join(stage.options.get(name, [str(default)]))


def number(stage: Stage, name: str, default: float) -> float:
    return float(option_of(stage, name, default))


def flag(stage: Stage, name: str, default: bool) -> bool:
    return read_value(stage.options[name], bool) if name in stage.options else default


@cache
def describe_slates(path: Path) -> dict[str, tuple[int, int, float, float]]:
    """Split -> slates, those with a relevant candidate, items of a history, candidates of a slate; train first."""
    table = pl.scan_parquet(path).group_by("split").agg(
        pl.len().alias("rows"),
        (pl.col("labels").list.max() > 0).sum().alias("relevant"),
        pl.col("history").list.len().mean().alias("history"),
        pl.col("candidates").list.len().mean().alias("candidates"),
    )  # fmt: skip
    found = {split: tuple(values) for split, *values in table.collect().iter_rows()}
    return {split: found[split] for split in SPLITS if split in found}


@cache
def count_events(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path, columns=["user_id", "split"])


@cache
def count_levels(path: Path) -> int:
    return pl.scan_parquet(path).select(pl.col("codes").list.len().max()).collect().item()


@cache
def measure_items(path: Path) -> tuple[float, float]:
    """Three characters a token."""
    frame = read_items(path)
    title, category = (sum(map(len, texts)) / len(frame) / 3 for texts in (frame["title"], join_categories(frame)))
    return title, category
