from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gr2.semantic_ids.trie import Runs, Table, build_trie

CODES = 5


@st.composite
def catalogues(draw):
    levels = draw(st.integers(1, 4))
    code = st.integers(0, CODES - 1)
    return np.array(draw(st.lists(st.tuples(*[code] * levels), min_size=1, max_size=60, unique=True)))


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
    trie.level[1].first[-1] = trie.level[1].first[-2]  # the last prefix loses its child
    with pytest.raises(ValueError, match="without continuation"):
        trie.children(1, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="without continuation"):
        trie.allowed(torch.tensor([[0], [2]]))
    with pytest.raises(ValueError, match="whole ID"):
        trie.allowed(torch.tensor([[0, 1]]))


@given(catalogues(), st.randoms(use_true_random=False))
def test_prefixes_are_found_in_any_order_and_repeated(assigned, rng):
    trie = build_trie(assigned, CODES)
    for length in range(trie.levels + 1):
        known = prefixes(assigned, length)
        asked = [rng.randrange(len(known)) for _ in range(7)]
        found = trie.find(torch.tensor([known[node] for node in asked]).view(7, length))
        assert found.tolist() == asked


@given(catalogues())
def test_a_whole_id_is_found_as_its_item(assigned):
    trie = build_trie(assigned, CODES)
    assert trie.item[trie.find(torch.from_numpy(assigned))].tolist() == list(range(len(assigned)))


@given(catalogues(), st.data())
def test_one_unknown_prefix_among_known_ones_raises(assigned, data):
    trie = build_trie(assigned, CODES)
    length = data.draw(st.integers(1, trie.levels))
    known = prefixes(assigned, length)
    prefix = data.draw(st.tuples(*[st.integers(-2, CODES + 1)] * length).filter(lambda drawn: drawn not in known))
    with pytest.raises(ValueError):
        trie.find(torch.tensor([*known, prefix]))


def test_a_prefix_longer_than_an_id_raises():
    with pytest.raises(ValueError, match="at most 2"):
        build_trie(np.array([[0, 1], [2, 0]]), 3).find(torch.tensor([[0, 1, 0]]))


@given(catalogues())
def test_allowed_is_the_mask_of_the_codes_that_the_catalogue_goes_on_with(assigned):
    trie = build_trie(assigned, CODES)
    for length in range(trie.levels):
        known, below = prefixes(assigned, length), set(prefixes(assigned, length + 1))
        mask = trie.allowed(torch.tensor(known).view(len(known), length))
        assert mask.dtype == torch.bool
        assert mask.tolist() == [[(*prefix, code) in below for code in range(CODES)] for prefix in known]


def test_a_full_catalogue_has_tables_above_runs():
    trie = build_trie(np.array(list(product(range(3), repeat=4))), 3)
    assert [type(level) for level in trie.level] == [Table, Table, Runs, Runs]
    for length in range(4):
        assert trie.allowed(torch.tensor(list(product(range(3), repeat=length))).view(3**length, length)).all()
    assert trie.find(torch.tensor(list(product(range(3), repeat=4)))).tolist() == list(range(81))


@pytest.mark.parametrize(
    ("codes", "dtype"),
    [(256, torch.uint8), (257, torch.int16), (32_768, torch.int16), (32_769, torch.int32), (70_000, torch.int32)],
)
def test_many_codes_in_the_smallest_type_that_holds_them(codes, dtype):
    rng = np.random.default_rng(0)
    under_one = np.stack([np.full(200, codes - 1), rng.choice(codes, 200, replace=False)], axis=1)
    elsewhere = np.stack([rng.choice(codes - 1, 50, replace=False), rng.integers(0, codes, 50)], axis=1)
    assigned = np.concatenate([under_one, elsewhere])
    trie = build_trie(assigned, codes)
    assert [level.code.dtype for level in trie.level] == [dtype] * 2
    assert {trie.item.dtype, trie.level[0].first.dtype, trie.level[1].first.dtype} == {torch.int32}
    assert trie.item[trie.find(torch.from_numpy(assigned))].tolist() == list(range(250))
    last = torch.tensor([[codes - 1]])
    expected = sorted(under_one[:, 1].tolist())
    assert trie.allowed(last)[0].nonzero()[:, 0].tolist() == expected
    assert (trie.children(1, trie.find(last))[0] >= 0).nonzero()[:, 0].tolist() == expected
    missing = next(code for code in range(codes) if code not in set(expected))
    with pytest.raises(ValueError, match="not in the trie"):
        trie.find(torch.tensor([[codes - 1, missing]]))


@pytest.mark.parametrize("code", [-1, 3])
def test_codes_out_of_range_are_refused(code):
    with pytest.raises(ValueError, match="from 0 to 2"):
        build_trie(np.array([[0, 1], [2, code]]), 3)
