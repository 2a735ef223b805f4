"""Items by id or title, and what users chose last: how a request's words become items of the catalogue."""

import json

import polars as pl

from gr2.data.text import clean
from gr2.data.text_matches import read_texts
from gr2.files.interactions import read_interactions
from gr2.files.items import read_items
from gr2.serving.messages import RankingJob


class Directory:
    """items: `item_id`, `title`, optional `categories`. events: of users, or None. history: how many of a
    user's latest events make the user's past.
    """

    def __init__(self, items: pl.DataFrame, events: pl.DataFrame | None, history: int):
        self.texts = dict(zip(items["item_id"], read_texts(items), strict=True))
        self.by_title: dict[str, list[str]] = {}
        for item_id, (title, _) in self.texts.items():
            self.by_title.setdefault(fold(title), []).append(item_id)
        self.by_title.pop("", None)
        self.pasts = latest_items(events, history) if events is not None else {}

    def find(self, word: str, taken: frozenset[str] | set[str] = frozenset()) -> str | None:
        """The item with this id; else one with this title, one that is not `taken` if there is one; else None."""
        if word in self.texts:
            return word
        named = self.by_title.get(fold(clean(word)), ())
        return next((item_id for item_id in named if item_id not in taken), named[0] if named else None)

    def read_past(self, job: RankingJob) -> list[str]:
        """The items that the request's user chose, oldest first; empty where none is known."""
        if job.user is not None:
            return self.pasts.get(job.user, [])
        if job.history is not None:
            return self.find_all(job.history)
        return self.read_query(job.query or "")

    def read_query(self, query: str) -> list[str]:
        """A user's id; else an item's id or title; else JSON; else a line for each item, oldest first."""
        if query in self.pasts:
            return self.pasts[query]
        whole = self.find(query)
        if whole:
            return [whole]
        if query.lstrip()[:1] in ("{", "["):
            return self.read_json(query)
        return self.find_all(query.splitlines())

    def read_json(self, query: str) -> list[str]:
        """`{"user": ID}`, `{"history": [ID or TITLE, ...]}` or the list alone."""
        try:
            value = json.loads(query)
        except (ValueError, RecursionError):
            return []
        if isinstance(value, dict) and "user" in value:
            return self.pasts.get(str(value["user"]), [])
        words = value.get("history") if isinstance(value, dict) else value
        known = words if isinstance(words, list) else []
        return self.find_all([str(word) for word in known if isinstance(word, str | int)])

    def find_all(self, words: list[str]) -> list[str]:
        """Those that are known: all of them, since who sends a history chooses its length."""
        found = (self.find(word.strip()) for word in words)
        return [item_id for item_id in found if item_id]


def fold(title: str) -> str:
    return " ".join(title.lower().split())


def latest_items(events: pl.DataFrame, count: int) -> dict[str, list[str]]:
    """User -> their latest items, oldest first."""
    order = [name for name in ("timestamp", "position") if name in events.columns]
    order = ["position"] if "position" in order else order
    latest = events.sort("user_id", *order, maintain_order=True).group_by("user_id").agg(pl.col("item_id").tail(count))
    return dict(latest.iter_rows())


def read_directory(items: str, interactions: str | None, history: int) -> Directory:
    """From items.parquet and interactions.parquet, all of whose events are read: requests come after them."""
    table = read_items(items)
    return Directory(table, read_interactions(interactions, table["item_id"]) if interactions else None, history)
