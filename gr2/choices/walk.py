"""A list as a sequence of choices: which tokens the slate forces, and where its unused candidates part.

The tokens of all unused candidates form a trie. Where it has one way on, the token is forced; where it has several, the
model chooses among them, at the root and, if candidates share the start of their IDs, further down. A candidate that is
written is taken out, and the next one starts at the root.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from gr2.choices.drawing import Drawing, draw
from gr2.choices.spelling import Spelling


@dataclass(eq=False)
class Node:
    """A prefix of candidates' tokens. `unused`: how many candidates below are not written yet."""

    depth: int
    token: int = -1
    parent: "Node | None" = None
    children: dict[int, "Node"] = field(default_factory=dict)
    unused: int = 0
    candidate: int = -1  # of a leaf

    def ways(self) -> list["Node"]:
        return [child for child in self.children.values() if child.unused]


@dataclass(frozen=True)
class Plan:
    """What a model reads next, and where it chooses.

    The first `decided` of `tokens` are text, each after the one before. The others are read ahead: those tokens of the
    trie after which it branches, or on the way there. parents: for each of them, the index of the token it follows.
    branches: (index of a token, the tokens that may follow it), two or more each.
    """

    tokens: list[int]
    decided: int
    parents: list[int]
    branches: list[tuple[int, list[int]]]


@dataclass(frozen=True)
class Choice:
    """A token of an answer, at `place`, that was chosen `among` two or more."""

    place: int
    token: int
    among: list[int]


class ListWriter:
    """One list while it is written. `text`: tokens before it that a model still has to read, at least one.

    order: indices of the candidates, so far; log_probs: for each of them the log-probability of its choices, at
    temperature 1 and among the tokens that the slate admits; choices: their places count from the list's first token.
    """

    def __init__(self, spelling: Spelling, text: list[int], drawing: Drawing):
        self.spelling, self.drawing, self.random = spelling, drawing, Random(drawing.seed)
        self.order: list[int] = []
        self.log_probs: list[float] = []
        self.choices: list[Choice] = []
        self.written = 0  # tokens of the list up to the candidate that comes next
        self._pieces = [item + spelling.between for item in spelling.items]
        self.root = grow_trie(self._pieces)
        self.pending = list(text)
        self._start_candidate()

    @property
    def done(self) -> bool:
        return self.root.unused == 0

    def plan(self) -> Plan:
        """What has to be read for the next candidate to be chosen."""
        nodes = [self.start]
        for node in nodes:
            nodes += [child for child in node.ways() if child.unused > 1]
        last = len(self.pending) - 1
        self.index = {node: last + offset for offset, node in enumerate(nodes)}
        self.branching = [node for node in nodes if len(node.ways()) > 1]
        return Plan(
            tokens=self.pending + [node.token for node in nodes[1:]],
            decided=len(self.pending),
            parents=[self.index[node.parent] for node in nodes[1:]],
            branches=[(self.index[node], [way.token for way in node.ways()]) for node in self.branching],
        )

    def score_candidates(self, log_probs: Sequence[Sequence[float]]) -> list[float]:
        """Each unused candidate's log-probability of being next. log_probs: for each of the plan's branches."""
        scores = [-math.inf] * len(self.spelling.items)
        of = dict(zip(self.branching, log_probs, strict=True))
        nodes = [(self.start, 0.0)]
        for node, total in nodes:
            ways = node.ways()
            if not ways:
                scores[node.candidate] = total
            values = of[node] if len(ways) > 1 else [0.0] * len(ways)
            nodes += [(child, total + value) for child, value in zip(ways, values, strict=True)]
        return scores

    def choose(self, log_probs: Sequence[Sequence[float]]) -> list[int]:
        """Writes the next candidate; returns which of the plan's tokens, beyond the decided, have become text.

        log_probs: for each of the plan's branches, of its tokens.
        """
        of = dict(zip(self.branching, log_probs, strict=True))
        likeliest = self._find_likeliest(log_probs) if self.drawing.temperature == 0 else None
        node, total, read = self.start, 0.0, []
        while node.unused > 1:
            ways = node.ways()
            index = 0
            if node in of:
                tokens = [one.token for one in ways]
                index = tokens.index(likeliest[node.depth]) if likeliest else draw(of[node], self.drawing, self.random)
                total += of[node][index]
                self.choices.append(Choice(self.written + node.depth, tokens[index], tokens))
            node = ways[index]
            if node in self.index:
                read.append(self.index[node])
        first_unread = node.depth - 1
        while node.children:
            (node,) = node.ways()
        self._write(node, total)
        tokens = self.spelling.items[node.candidate] + self.spelling.between
        self.pending = tokens[first_unread:]
        self._start_candidate()
        return read

    def _find_likeliest(self, log_probs: Sequence[Sequence[float]]) -> list[int]:
        """The tokens of the likeliest next candidate, the first of equal ones.

        Token by token, a start that many candidates share would win over a better candidate that stands alone.
        """
        scores = self.score_candidates(log_probs)
        return self._pieces[scores.index(max(scores))]

    def _start_candidate(self) -> None:
        """Moves past the tokens that all unused candidates begin with; the last candidate is written at once."""
        node = self.root
        while len(ways := node.ways()) == 1:
            node = ways[0]
            self.pending.append(node.token)
        self.start = node
        if self.root.unused == 1:
            self._write(node, 0.0)

    def _write(self, leaf: Node, log_prob: float) -> None:
        self.order.append(leaf.candidate)
        self.log_probs.append(log_prob)
        self.written += leaf.depth
        node = leaf
        while node:
            node.unused -= 1
            node = node.parent


def grow_trie(candidates: Sequence[list[int]]) -> Node:
    """The root of a trie of the candidates' tokens, none of which may be the start of another's."""
    root = Node(0)
    for index, tokens in enumerate(candidates):
        node = root
        node.unused += 1
        for token in tokens:
            if token not in node.children:
                node.children[token] = Node(node.depth + 1, token, node)
            node = node.children[token]
            node.unused += 1
        node.candidate = index
    return root
