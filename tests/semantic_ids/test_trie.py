import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gr2.semantic_ids.trie import build_trie

CODES = 5


@st.composite
def catalogues(draw):
    levels = draw(st.integers(1, 4))
    code = st.integers(0, CODES - 1)
    return np.array(draw(st.lists(st.tuples(*[code] * levels), min_size=1, max_size=30, unique=True)))


def prefixes(assigned, length):
    """Distinct prefixes of a length, sorted: node i of that level is prefix i."""
    return sorted({tuple(row[:length]) for row in assigned.tolist()})


@given(catalogues())
def test_children_are_those_that_the_catalogue_goes_on_with(assigned):
    trie = build_trie(assigned, CODES)
    assert trie.levels == assigned.shape[1]
    for level in range(trie.levels):
        nodes, below = prefixes(assigned, level), prefixes(assigned, level + 1)
        expected = [
            [below.index((*node, code)) if (*node, code) in below else -1 for code in range(CODES)] for node in nodes
        ]
        assert trie.children(level, torch.arange(len(nodes))).tolist() == expected


@given(catalogues(), st.randoms(use_true_random=False))
def test_many_nodes_in_any_order_and_repeated(assigned, rng):
    trie = build_trie(assigned, CODES)
    for level in range(trie.levels):
        count = len(prefixes(assigned, level))
        nodes = torch.tensor([rng.randrange(count) for _ in range(7)])
        single = [trie.children(level, node[None])[0].tolist() for node in nodes]
        assert trie.children(level, nodes).tolist() == single


@given(catalogues())
def test_every_path_is_an_item_and_every_item_a_path(assigned):
    trie = build_trie(assigned, CODES)
    paths = [((), 0)]
    for level in range(trie.levels):
        tables = trie.children(level, torch.tensor([node for _, node in paths])).tolist()
        paths = [
            ((*path, code), child)
            for (path, _), table in zip(paths, tables, strict=True)
            for code, child in enumerate(table)
            if child >= 0
        ]
    found = {int(trie.item[leaf]): path for path, leaf in paths}
    assert len(paths) == len(assigned)
    assert found == {row: tuple(codes) for row, codes in enumerate(assigned.tolist())}


def test_two_items_with_the_same_codes_are_refused():
    with pytest.raises(ValueError, match="same codes"):
        build_trie(np.array([[0, 1], [2, 0], [0, 1]]), 3)


def test_a_prefix_without_continuation_raises():
    """An empty allowed list must never mean 'anything goes'."""
    trie = build_trie(np.array([[0, 1], [2, 0]]), 3)
    trie.first[1][-1] = trie.first[1][-2]  # the last prefix loses its child
    with pytest.raises(ValueError, match="without continuation"):
        trie.children(1, torch.tensor([0, 1]))
