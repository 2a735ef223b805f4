"""A slate as tokens: its history, then its candidates, all written alike.

Items are encoded one by one, so that an item has the same tokens wherever it stands. No chat template: nothing is
asked, and every candidate is one way to go on.
"""

import functools
from typing import NamedTuple, Self

from transformers import PreTrainedTokenizerBase

from gr2.data.catalogue import read_catalogue
from gr2.data.text import defuse
from gr2.errors import InputError
from gr2.files.items import read_items
from gr2.files.slates import Slate
from gr2.language_model.id_record import check_taught
from gr2.language_model.loading import load_tokenizer
from gr2.language_model.sequences import HISTORY as OPENING
from gr2.rerankers.one_pass.network import HISTORY, LETTERS, OnePassConfig

CLOSING = "Next:"


class Layout(NamedTuple):
    """A slate's tokens: whose each is, where it stands, and at which places the states are read."""

    tokens: list[int]
    owner: list[int]
    position: list[int]
    ends: list[int]


class Rendering:
    """title, sid: each item's text and semantic ID; what is not shown may be missing."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        config: OnePassConfig,
        title: dict[str, str],
        sid: dict[str, str],
    ):
        self.tokenizer, self.config = tokenizer, config
        self.opening, self.closing, self.line_end = map(self.encode, (OPENING, CLOSING, "\n"))
        self.letters = [self.encode(letter) for letter in LETTERS]
        self.title = functools.cache(lambda item_id: self.encode(title[item_id])[: config.title_tokens])
        self.sid_length = max((text.count("<") for text in sid.values()), default=0)
        self.sid = functools.cache(lambda item_id: self.encode(sid[item_id]))

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerBase, config: OnePassConfig, items: str, semantic_ids: str | None
    ) -> Self:
        """With the texts of these files; none of the tokenizer's added tokens is left in a title."""
        if config.show != "title":
            catalogue = read_catalogue(items, semantic_ids).safe_for(tokenizer)
            return cls(tokenizer, config, catalogue.title, catalogue.sid)
        table, tokens = read_items(items), frozenset(tokenizer.get_added_vocab())
        titles = {item_id: defuse(title, tokens) for item_id, title in table.select("item_id", "title").iter_rows()}
        return cls(tokenizer, config, titles, {})

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    @property
    def longest(self) -> int:
        """The largest number of positions that a slate may take."""
        items = self.config.history + (len(LETTERS) if self.config.readout == "letters" else 1)
        item = self.sid_length + self.config.title_tokens + len(self.line_end) + 1  # 1: a letter
        return len(self.opening) + items * item + len(self.line_end) + len(self.closing)

    def item(self, item_id: str) -> list[int]:
        """Its semantic ID, its title's first tokens and a line's end; or the ID alone."""
        sid = self.sid(item_id) if self.config.show != "title" else []
        return sid if self.config.show == "id" else [*sid, *self.title(item_id), *self.line_end]

    def lay_out(self, slate: Slate) -> Layout:
        """The history, oldest first, then each candidate as if it alone followed, read at its last token.

        With letters the candidates follow one another, each behind its letter, and the last token is read.
        """
        past = [token for item_id in slate.with_latest(self.config.history).history for token in self.item(item_id)]
        tokens = self.opening + past
        if self.config.readout == "letters":
            return self.lay_out_letters(slate, tokens)
        start, ends = len(tokens), []
        owner, position = [HISTORY] * start, [*range(start)]
        for index, item_id in enumerate(slate.candidates):
            of_item = self.item(item_id)
            tokens += of_item
            owner += [index] * len(of_item)
            position += range(start, start + len(of_item))
            ends.append(len(tokens) - 1)
        return Layout(tokens, owner, position, ends)

    def lay_out_letters(self, slate: Slate, tokens: list[int]) -> Layout:
        """InputError for more candidates than letters."""
        if len(slate.candidates) > len(LETTERS):
            found = f"slate_id '{slate.slate_id}' has {len(slate.candidates)}"
            raise InputError(f"readout letters: expected at most {len(LETTERS)} candidates, one a letter; {found}")
        tokens += self.line_end
        for letter, item_id in zip(self.letters, slate.candidates, strict=False):
            tokens += [*letter, *self.item(item_id)]
        tokens += self.closing
        return Layout(tokens, [HISTORY] * len(tokens), [*range(len(tokens))], [len(tokens) - 1])


def letter_ids(rendering: Rendering) -> list[int]:
    """InputError where the tokenizer has no token for each letter."""
    if any(len(tokens) != 1 for tokens in rendering.letters):
        name = rendering.tokenizer.name_or_path
        raise InputError(f"{name}: readout letters: expected a token for each of the letters {LETTERS}")
    return [token for (token,) in rendering.letters]


def open_rendering(folder: str, config: OnePassConfig, items: str, semantic_ids: str | None) -> Rendering:
    """Of a trained network's folder; InputError where it was taught other semantic IDs."""
    tokenizer = load_tokenizer(folder)
    if config.show != "title":
        check_taught(folder, tokenizer, read_catalogue(items, semantic_ids), semantic_ids)
    return Rendering.of(tokenizer, config, items, semantic_ids)
