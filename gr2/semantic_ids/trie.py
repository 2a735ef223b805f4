"""A prefix trie over the catalogue's codes, as compact arrays: which codes may follow a prefix, for many at once."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Trie:
    """Nodes are numbered within their level; node 0 of level 0 is the root; a node of the last level is an item.

    first[level]: int64 [nodes of level + 1], node -> its first child; code[level]: int64 [nodes of level + 1 level],
    child -> its code; item: int64 [n_items], leaf -> row of the catalogue.
    """

    first: list[torch.Tensor]
    code: list[torch.Tensor]
    item: torch.Tensor
    codes: int

    @property
    def levels(self) -> int:
        return len(self.code)

    def children(self, level: int, nodes: torch.Tensor) -> torch.Tensor:
        """For nodes [n] of a level: [n, codes], the child that a code leads to, or -1 where no item goes on so."""
        start = self.first[level][nodes]
        count = self.first[level][nodes + 1] - start
        if bool((count == 0).any()):
            raise ValueError(f"level {level}: a prefix without continuation is not in the trie")
        row = torch.repeat_interleave(torch.arange(len(nodes), device=nodes.device), count)
        within = torch.arange(len(row), device=nodes.device) - torch.repeat_interleave(count.cumsum(0) - count, count)
        child = start[row] + within
        table = torch.full((len(nodes), self.codes), -1, dtype=torch.long, device=nodes.device)
        table[row, self.code[level][child]] = child
        return table


def build_trie(assigned: np.ndarray, codes: int, device: str | torch.device = "cpu") -> Trie:
    """From unique codes, int [n_items, levels]; sorting makes every prefix a contiguous run. ValueError on a duplicate."""
    order = np.lexsort(assigned.T[::-1])
    ranked = assigned[order]
    changes = np.zeros(len(ranked), bool)  # does the prefix up to this level differ from the row before?
    changes[0] = True
    parents = np.zeros(len(ranked), np.int64)  # node of the previous level, by row
    first, code = [], []
    for level in range(assigned.shape[1]):
        changes[1:] |= ranked[1:, level] != ranked[:-1, level]
        starts = np.flatnonzero(changes)
        counts = np.bincount(parents[starts], minlength=parents[-1] + 1)
        first.append(torch.from_numpy(np.concatenate([[0], counts.cumsum()])).to(device))
        code.append(torch.from_numpy(ranked[starts, level].astype(np.int64)).to(device))
        parents = changes.cumsum() - 1
    if not changes.all():
        raise ValueError("two items have the same codes")
    return Trie(first, code, torch.from_numpy(order).to(device), codes)
