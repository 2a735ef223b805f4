"""Dynamic sampling (DAPO, 2503.14476, section 3.2) on arrays: which groups are replaced, and by which.

A group whose answers all earn the same ranking reward has no advantage and no gradient, regardless of its length
penalties and of rounding error in the mean. Such groups are replaced, whole, by answers to other slates, until every
group has spread or the tries are used up; the batch keeps its size. Where we differ: DAPO over-samples every batch;
here as many slates are drawn as there are groups to replace.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch


def find_spread(rewards: torch.Tensor, group_size: int) -> list[bool]:
    """rewards [rows], a group's rows side by side -> for each group whether its rewards are not all the same."""
    groups = rewards.view(-1, group_size)
    return (groups.amax(1) > groups.amin(1)).tolist()


def pair_rows(spread: Sequence[bool], fresh: Sequence[bool], group_size: int) -> list[tuple[int, int]]:
    """(row of a group without spread, row of a fresh group that has it) in order, as many as there are of both.

    spread, fresh: of each group of the batch, and of each that was sampled to replace some, whether it has spread.
    """
    flat_rows = [row for row in range(len(spread) * group_size) if not spread[row // group_size]]
    fresh_rows = [row for row in range(len(fresh) * group_size) if fresh[row // group_size]]
    return list(zip(flat_rows, fresh_rows, strict=False))


def round_to_groups(wanted: int, group_size: int, processes: int) -> int:
    """The least number of groups, at least `wanted`, whose rows are the same number on every process."""
    unit = processes // math.gcd(group_size, processes)
    return math.ceil(wanted / unit) * unit


def draw_rows(rows: Sequence[dict], taken: Iterable[str], seed: Sequence[int]) -> Iterator[dict]:
    """`rows` in random order, each slate_id once and none of those in `taken`."""
    seen = set(taken)
    for index in np.random.default_rng(seed).permutation(len(rows)):
        row = rows[int(index)]
        if row["slate_id"] not in seen:
            seen.add(row["slate_id"])
            yield row
