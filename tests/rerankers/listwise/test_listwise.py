import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gr2.data.catalogue import Catalogue
from gr2.evaluation import metrics
from gr2.rerankers.listwise import requests
from gr2.rerankers.listwise.blocks import Decoder
from gr2.rerankers.listwise.fitting import Collator, reference_lists, utility
from gr2.rerankers.listwise.requests import NONE

IDS = [f"i{number}" for number in range(9)]
CATALOGUE = Catalogue(
    item_ids=pl.Series("item_id", IDS), title=dict.fromkeys(IDS, ""), category=dict.fromkeys(IDS, ""),
    description=dict.fromkeys(IDS, ""), sid=dict.fromkeys(IDS, ""), codes={name: (at // 3, at % 3) for at, name in enumerate(IDS)},
)  # fmt: skip
SLATES = [
    {"history": ["i0", "i1", "i2"], "candidates": ["i3", "i4", "i5"], "labels": [0.0, 1.0, 2.0]},
    {"history": [], "candidates": ["i8"], "labels": [1.0]},
]


def test_slates_as_tensors_by_hand():
    asked = requests.read(SLATES, CATALOGUE, history=2)
    assert asked.history.tolist() == [[[0, 2], [0, 1]], [[NONE, NONE]] * 2], "newest first"
    assert asked.candidates.tolist() == [[[1, 0], [1, 1], [1, 2]], [[2, 2], [NONE, NONE], [NONE, NONE]]]
    assert asked.there.tolist() == [[True] * 3, [True, False, False]] and asked.past.tolist() == [
        [True] * 2,
        [False] * 2,
    ]
    assert requests.read(SLATES[1:], CATALOGUE, history=2).history.shape == (1, 0, 2)


def test_reference_lists_by_hand():
    labels = torch.tensor([[0.0, 1.0, 2.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    there = torch.tensor([[True] * 4, [True, True, False, False]])
    assert reference_lists(labels, there, 3).tolist() == [[2, 1, 3], [0, 1, NONE]]


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=8).filter(any), st.integers(1, 8), st.data())
def test_the_utility_is_ndcg_and_the_reference_list_has_the_most(labels, size, data):
    own = torch.tensor([labels])
    best = reference_lists(own, torch.ones_like(own, dtype=torch.bool), size)
    assert utility(own, best).item() == pytest.approx(1.0)
    order = data.draw(st.permutations(range(len(labels))))
    listed = torch.tensor([order[:size]])
    ranked = np.array([[labels[at] for at in order]])
    assert utility(own, listed).item() == pytest.approx(metrics.ndcg(ranked, size)[0], abs=1e-6)


def test_a_shuffling_collator_moves_candidates_labels_and_lists_together():
    torch.manual_seed(0)
    slates = [SLATES[0]] * 50 + [SLATES[1]]
    made = Collator(CATALOGUE, 5, 2, shuffled=True)(slates)
    code_of = {1: 1.0, 2: 2.0, 0: 0.0}  # of the last code of i3, i4, i5: the label
    seen = set()
    for row in range(50):
        codes = made["candidates"][row].tolist()
        seen.add(tuple(code[1] for code in codes))
        assert [code_of[code[1]] for code in codes] == made["labels"][row].tolist()
        assert [codes[place][1] for place in made["lists"][row].tolist()] == [2, 1]
    assert len(seen) == 6 and made["lists"][50].tolist() == [0, NONE] and made["candidates"][50, 0].tolist() == [2, 2]
    plain = Collator(CATALOGUE, 5, 2, shuffled=False)(slates)
    assert plain["candidates"][:50].unique(dim=0).tolist() == [[[1, 0], [1, 1], [1, 2]]]


def test_a_list_fed_place_by_place_has_the_states_of_the_whole():
    torch.manual_seed(0)
    decoder = Decoder(8, heads=2, layers=2, dropout=0.5).eval()
    states, request = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    there = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
    memory = decoder.memory(request)
    whole, _ = decoder(states, memory, there)
    past, steps = None, []
    for place in range(5):
        step, past = decoder(states[:, place : place + 1], memory, there, past)
        steps.append(step)
    torch.testing.assert_close(torch.cat(steps, 1), whole)
    other = request.clone()
    other[~there] = 7.0
    torch.testing.assert_close(decoder(states, decoder.memory(other), there)[0], whole)
