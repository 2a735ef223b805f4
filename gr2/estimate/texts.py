"""How many tokens a slate, an item and a history are, without a tokenizer: what a model reads is written, and counted.

Semantic IDs are counted exactly; of other text, a word is a token, a long one several, and a mark of its own is one.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

from gr2.files.sid_tokens import SID, sid_string

PIECE = re.compile(r" ?[A-Za-z]{1,8}| ?\d| ?[^\sA-Za-z\d]{1,3}|\s")
TURN = 5  # tokens around a message: <|im_start|>, the role, two line ends, <|im_end|>
WORD = "word "  # a token of a title or category


@dataclass(frozen=True)
class Texts:
    """The lengths that token counts follow from."""

    candidates: float
    history: float  # items of a user's history
    levels: int  # of a semantic ID
    title: float  # tokens of a title
    category: float  # and of what follows it
    explanation: float  # tokens of a trace's explanation

    @property
    def sid(self) -> int:
        """Tokens of a semantic ID: one a level, and two around them."""
        return self.levels + 2

    def count(self, text: str) -> float:
        rest, ids = SID.subn("", text)
        return ids * self.sid + len(PIECE.findall(rest))

    def prompt(self, name: str) -> float:
        """Tokens of a slate's chat under a prompt, up to where the answer begins."""
        sizes = map(round, (self.candidates, self.history, self.title, self.category))
        system, user = render_made_up(name, *sizes)
        return self.count(system) + self.count(user) + 3 * TURN

    def answer(self, name: str) -> float:
        """Tokens of an answer: all candidates as JSON, after an explanation where the prompt asks for one."""
        ranking = 8 + self.candidates * (self.sid + 2)
        return ranking + (self.explanation + 8 if has_trace(name) else 0)


def has_trace(name: str) -> bool:
    from gr2.prompts.prompt import load_prompt

    return load_prompt(name).has_trace


@cache
def render_made_up(name: str, candidates: int, history: int, title: int, category: int) -> tuple[str, str]:
    """System and user message of a slate of made-up items."""
    import polars as pl

    from gr2.data.catalogue import Catalogue
    from gr2.files.slates import Slate
    from gr2.prompts.prompt import load_prompt
    from gr2.prompts.render import render

    prompt = load_prompt(name)
    texts = {"title": WORD * min(title, prompt.title_tokens or title), "category": WORD * category, "description": ""}
    every = {name: {"item": text} for name, text in texts.items()}
    catalogue = Catalogue(pl.Series(["item"]), sid={"item": sid_string([0])}, codes={"item": (0,)}, **every)
    facts = [defaultdict(lambda: 1)] * candidates
    slate = Slate("made up", ["item"] * history, ["item"] * candidates, facts=facts)
    system, user = render(prompt, slate, catalogue, "item")
    return system["content"], user["content"]
