"""The items as stages see them: text and semantic ID by item id."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from gr2.data.items import join_categories
from gr2.data.text import defuse, neutralise
from gr2.files.items import read_items
from gr2.files.semantic_ids import read_semantic_ids

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

    @property
    def code_count(self) -> int:
        """Codes a level, up to the largest that an item has."""
        return 1 + max(map(max, self.codes.values()))

    def safe_for(self, tokenizer: "PreTrainedTokenizerBase", title_tokens: int | None = None) -> "Catalogue":
        """The same items, their text without any of the tokens that were added to this tokenizer's vocabulary.

        title_tokens: titles are cut to this many tokens.
        """
        tokens = frozenset(tokenizer.get_added_vocab())

        def defuse_all(texts: dict[str, str]) -> dict[str, str]:
            return {item_id: defuse(text, tokens) for item_id, text in texts.items()}

        title, category = defuse_all(self.title), defuse_all(self.category)
        if title_tokens is not None:
            title = {item_id: cut(text, tokenizer, title_tokens) for item_id, text in title.items()}
        return replace(self, title=title, category=category, description=defuse_all(self.description))


def cut(text: str, tokenizer: "PreTrainedTokenizerBase", tokens: int) -> str:
    """The start of a text, up to where its first `tokens` tokens end."""
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return text if len(spans) <= tokens else text[: spans[tokens - 1][1]]


def read_catalogue(items: str, semantic_ids: str) -> Catalogue:
    """Reads items.parquet and semantic_ids.parquet, which must list the same items in the same order."""
    frame = read_items(items)
    ids = read_semantic_ids(semantic_ids, frame["item_id"])
    item_ids = frame["item_id"].to_list()
    described = "description" in frame.columns
    descriptions = frame["description"].fill_null("").to_list() if described else [""] * len(item_ids)
    return Catalogue(
        item_ids=frame["item_id"],
        title=dict(zip(item_ids, map(neutralise, frame["title"]), strict=True)),
        category=dict(zip(item_ids, map(neutralise, join_categories(frame)), strict=True)),
        description=dict(zip(item_ids, map(neutralise, descriptions), strict=True)),
        sid=dict(zip(item_ids, ids["sid"], strict=True)),
        codes=dict(zip(item_ids, map(tuple, ids["codes"].to_list()), strict=True)),
    )
