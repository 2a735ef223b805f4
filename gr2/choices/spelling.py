"""A list's tokens, piece by piece: what a trained model has learned to write, so that only choices are left to it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from gr2.errors import InputError
from gr2.files.sid_tokens import BEGIN, END, TOKEN
from gr2.language_model.chat import PROBE, encode_turn, turn_end_id

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase

LIST = "recommendations"
OPENING = f'"{LIST}": ['


@dataclass(frozen=True)
class Spelling:
    """The tokens of a slate's list: `opening` up to the first ID, `between` two, `closing` to the end of the turn.

    items: the tokens of each candidate's ID, in the order of the slate.
    """

    opening: list[int]
    items: list[list[int]]
    between: list[int]
    closing: list[int]

    def write(self, order: Sequence[int]) -> list[int]:
        """The tokens of the list in this order of the candidates, after `opening`."""
        tokens = []
        for index in order[:-1]:
            tokens += self.items[index] + self.between
        return tokens + self.items[order[-1]] + self.closing


def spell(tokenizer: "PreTrainedTokenizerBase", sids: Sequence[str]) -> Spelling:
    """The tokens of `{"recommendations": ["ID", ...]}` and of its turn's end, as training writes them after a prompt.

    IDs in tokens of their own are looked up: an added token is never joined with its neighbours. InputError where the
    tokenizer joins an ID with its quotes, or writes what is between two IDs in several ways.
    """
    words = len(tokenizer)
    items = [spell_item(tokenizer, words, sid) for sid in sids]
    return replace(spell_frame(tokenizer, words)[1], items=items) if all(items) else spell_text(tokenizer, sids)


@lru_cache(maxsize=100_000)
def spell_item(tokenizer: "PreTrainedTokenizerBase", words: int, sid: str) -> list[int] | None:
    """An ID in tokens of its own, of a tokenizer of `words` tokens; None where it has no such tokens."""
    tokens = TOKEN.findall(sid)
    if "".join(tokens) != sid or not spell_frame(tokenizer, words)[0].issuperset(tokens):
        return None
    return tokenizer.convert_tokens_to_ids(tokens)


@lru_cache(maxsize=16)
def spell_frame(tokenizer: "PreTrainedTokenizerBase", words: int) -> tuple[frozenset[str], Spelling | None]:
    """The tokens of IDs that a tokenizer of `words` tokens has, and the spelling of two IDs made of them."""
    vocabulary = frozenset(token for token in tokenizer.get_added_vocab() if TOKEN.fullmatch(token))
    return vocabulary, spell_text(tokenizer, [BEGIN + END] * 2) if {BEGIN, END} <= vocabulary else None


def spell_text(tokenizer: "PreTrainedTokenizerBase", sids: Sequence[str]) -> Spelling:
    """As `spell`, of IDs of any kind."""
    texts = [json.dumps(sid, ensure_ascii=False)[1:-1] for sid in sids]
    answer = "{" + OPENING + ", ".join(f'"{text}"' for text in texts) + "]}"
    _, ids, offsets = encode_turn(tokenizer, PROBE, answer)
    ids = ids[: ids.index(turn_end_id(tokenizer)) + 1]
    starts = [first for first, _ in offsets]
    place, end, pieces, items = len("{" + OPENING) + 1, 0, [], []
    for text in texts:
        first = next(index for index, start in enumerate(starts) if start >= place)
        last = next(index for index, start in enumerate(starts) if start >= place + len(text))
        if starts[first] != place or starts[last] != place + len(text):
            joined = tokenizer.decode(ids[first - 1 : last + 1])
            expected = "a model that was taught IDs in tokens of their own, or short IDs (57-7-23)"
            raise InputError(
                f"{tokenizer.name_or_path}: its tokens join an ID with its quotes, {joined!r}: expected {expected}"
            )
        pieces.append(ids[end:first])
        items.append(ids[first:last])
        end, place = last, place + len(text) + len('", "')
    opening, *between = pieces
    if any(piece != between[0] for piece in between):
        raise InputError(f"{tokenizer.name_or_path}: it writes what is between two IDs in several ways: {between}")
    return Spelling(opening, items, between[0] if between else [], ids[end:])


def spell_after(tokenizer: "PreTrainedTokenizerBase", text: str, sid: str) -> list[int]:
    """The tokens of `text` where it follows something else: a start of a text has spaces of its own.

    sid: an ID of the catalogue, whose tokens nothing joins.
    """
    before = tokenizer(sid, add_special_tokens=False)["input_ids"]
    both = tokenizer(sid + text, add_special_tokens=False)["input_ids"]
    return both[len(before) :]
