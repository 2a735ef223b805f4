"""The items as stages see them: text and semantic ID by item id."""

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from gr2.data.text import defuse, neutralise
from gr2.files.tables import read_items, read_semantic_ids

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Catalogue:
    """Item text and semantic IDs; rows in the order of the items file."""

    item_ids: pl.Series
    title: dict[str, str]
    category: dict[str, str]  # `Books > Novels`, empty where the catalogue has none
    description: dict[str, str]  # empty where the catalogue has none
    sid: dict[str, str]
    codes: dict[str, tuple[int, ...]]

    @property
    def levels(self) -> int:
        return len(next(iter(self.codes.values())))

    def safe_for(self, tokenizer: "PreTrainedTokenizerBase") -> "Catalogue":
        """The same items with text that holds none of the tokens that were added to this tokenizer's vocabulary."""
        tokens = frozenset(tokenizer.get_added_vocab())

        def safe(texts: dict[str, str]) -> dict[str, str]:
            return {item_id: defuse(text, tokens) for item_id, text in texts.items()}

        return replace(self, title=safe(self.title), category=safe(self.category), description=safe(self.description))


def read_catalogue(items: str, semantic_ids: str) -> Catalogue:
    """Reads items.parquet and semantic_ids.parquet, which must list the same items in the same order."""
    frame = read_items(items)
    ids = read_semantic_ids(semantic_ids, frame["item_id"])
    names = frame["item_id"].to_list()
    categories = frame["categories"].to_list() if "categories" in frame.columns else [[]] * len(names)
    described = "description" in frame.columns
    descriptions = frame["description"].fill_null("").to_list() if described else [""] * len(names)
    return Catalogue(
        item_ids=frame["item_id"],
        title=dict(zip(names, map(neutralise, frame["title"]), strict=True)),
        category={name: neutralise(" > ".join(path)) for name, path in zip(names, categories, strict=True)},
        description=dict(zip(names, map(neutralise, descriptions), strict=True)),
        sid=dict(zip(names, ids["sid"], strict=True)),
        codes={name: tuple(codes) for name, codes in zip(names, ids["codes"].to_list(), strict=True)},
    )


def order_digest(item_ids: pl.Series) -> str:
    """A fingerprint of the row order, kept with what has a row for each item: vectors, a pre-ranker."""
    return hashlib.sha256("\n".join(item_ids).encode()).hexdigest()
