"""A prefix trie over the catalogue's codes, as compact arrays: which codes may follow a prefix, for many at once.

A node is an index within its level, in the order of the prefixes: node 0 of level 0 is the root, a node of the last
level is an item. Near the root a node has most codes as children, and its level is a table of all of them; further down
it has few, and its children are a run of one long list. Nodes are int32, like the rows of the items.
"""

from dataclasses import dataclass

import numpy as np
import torch

WAYS = 16  # a search in a run compares 15 codes at once: two rounds find one of 256


@dataclass(frozen=True)
class Table:
    """A level of nodes with many children. child: int32 [nodes, codes], -1 where no item has prefix and code."""

    child: torch.Tensor

    def children(self, nodes: torch.Tensor) -> torch.Tensor:
        """nodes: int [n]. Returns int32 [n, codes], the child that a code leads to, or -1."""
        return self.child.index_select(0, nodes)

    def allowed(self, nodes: torch.Tensor) -> torch.Tensor:
        """nodes: int [n]. Returns bool [n, codes]: which codes lead to a child."""
        return self.children(nodes) >= 0

    def step(self, nodes: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """nodes, code: int [n]. Returns int32 [n], the children that the codes lead to, or -1."""
        return self.child[nodes, code]


@dataclass(frozen=True)
class Runs:
    """As Table, for nodes with few children: those of a node are first[node] up to, not with, first[node + 1].

    first: int32 [nodes + 1]; code: [children], of the smallest dtype that holds `codes` codes.
    """

    first: torch.Tensor
    code: torch.Tensor
    codes: int

    def children(self, nodes: torch.Tensor) -> torch.Tensor:
        index, child = self.list_children(nodes)
        table = torch.full((len(nodes), self.codes), -1, dtype=torch.int32, device=nodes.device)
        table.view(-1).scatter_(0, index, child)
        return table

    def allowed(self, nodes: torch.Tensor) -> torch.Tensor:
        index, _ = self.list_children(nodes)
        mask = torch.zeros(len(nodes), self.codes, dtype=torch.bool, device=nodes.device)
        mask.view(-1).index_fill_(0, index, True)
        return mask

    def step(self, nodes: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        index, last = self.first.index_select(0, nodes), self.first.index_select(0, nodes + 1) - 1
        code = code.to(self.code.dtype)  # comparing like with like is faster
        ways = torch.arange(1, WAYS, dtype=torch.int32, device=nodes.device)[:, None]
        reach = 1
        while reach < self.codes:
            reach *= WAYS
        while reach > 1:  # the last child with a code up to the wanted one is less than `reach` away
            reach //= WAYS
            probes = torch.minimum(index + ways * reach, last)
            passed = self.code.index_select(0, probes.view(-1)).view(probes.shape) <= code
            index = torch.minimum(index + reach * passed.sum(0, dtype=torch.int32), last)
        return torch.where(self.code.index_select(0, index) == code, index, -1)

    def list_children(self, nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All children of nodes [n], one after the other: their indices in a flat [n * codes], and the children."""
        end = self.first.index_select(0, nodes + 1)
        count = end - self.first.index_select(0, nodes)
        if bool((count == 0).any()):
            raise ValueError("a prefix without continuation is not in the trie")
        row = torch.repeat_interleave(count)
        shift = (end - count.cumsum(0, dtype=torch.int32)).index_select(0, row)
        child = torch.arange(len(row), dtype=torch.int32, device=nodes.device) + shift
        return (row * self.codes + self.code.index_select(0, child)).long(), child


@dataclass(frozen=True)
class Trie:
    """level: the children of each level's nodes; item: int32 [items], leaf -> row of the catalogue."""

    level: list[Table | Runs]
    item: torch.Tensor
    codes: int

    @property
    def levels(self) -> int:
        return len(self.level)

    def children(self, level: int, nodes: torch.Tensor) -> torch.Tensor:
        """For nodes [n] of a level: int32 [n, codes], the child that a code leads to, or -1."""
        return self.level[level].children(nodes)

    def find(self, prefixes: torch.Tensor) -> torch.Tensor:
        """prefixes: int [n, length]. Returns their nodes, int32 [n]; ValueError for a prefix that no item has."""
        length = prefixes.shape[1]
        if length > self.levels or not torch.equal(prefixes, prefixes.clamp(0, self.codes - 1)):
            raise ValueError(f"a prefix has at most {self.levels} codes from 0 to {self.codes - 1}")
        nodes = torch.zeros(len(prefixes), dtype=torch.int32, device=prefixes.device)
        for level, code in zip(self.level[:length], prefixes.unbind(1), strict=True):
            nodes = level.step(nodes, code)
            if bool((nodes < 0).any()):
                raise ValueError("a prefix is not in the trie")
        return nodes

    def allowed(self, prefixes: torch.Tensor) -> torch.Tensor:
        """prefixes: int [n, length < levels]. Returns bool [n, codes]: which codes may follow. ValueError as find."""
        if prefixes.shape[1] >= self.levels:
            raise ValueError("nothing follows a whole ID")
        return self.level[prefixes.shape[1]].allowed(self.find(prefixes))


def build_trie(assigned: np.ndarray, codes: int, device: str | torch.device = "cpu") -> Trie:
    """From unique codes, int [items, levels]; sorting makes every prefix a run. ValueError on a duplicate."""
    if assigned.min() < 0 or assigned.max() >= codes:
        raise ValueError(f"codes are from 0 to {codes - 1}")
    small = next(dtype for dtype in (np.uint8, np.int16, np.int32) if codes - 1 <= np.iinfo(dtype).max)
    order = np.lexsort(assigned.T[::-1])
    changes = np.zeros(len(order), bool)  # does the prefix up to this level differ from the row before?
    changes[0] = True
    parents = np.zeros(len(order), np.int32)  # node of the previous level, by row
    levels: list[Table | Runs] = []
    for column in assigned.T:
        ranked = column[order]
        changes[1:] |= ranked[1:] != ranked[:-1]
        starts = np.flatnonzero(changes)
        parent, code, nodes = parents[starts], ranked[starts], int(parents[-1]) + 1
        if nodes * codes <= len(order) // 4:  # a table of at most a byte an item
            child = np.full((nodes, codes), -1, np.int32)
            child[parent, code] = np.arange(len(starts))
            levels.append(Table(torch.from_numpy(child).to(device)))
        else:
            first = torch.from_numpy(np.searchsorted(parent, np.arange(nodes + 1)).astype(np.int32)).to(device)
            levels.append(Runs(first, torch.from_numpy(code.astype(small)).to(device), codes))
        parents = (changes.cumsum() - 1).astype(np.int32)
    if not changes.all():
        raise ValueError("two items have the same codes")
    return Trie(levels, torch.from_numpy(order.astype(np.int32)).to(device), codes)
