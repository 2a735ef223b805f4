import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gr2 import metrics
from gr2.data.catalogue import Catalogue
from gr2.files.slates import Slate
from gr2.rerankers.list_writer.batch import NONE, read_requests
from gr2.rerankers.list_writer.layers import Decoder
from gr2.rerankers.list_writer.train import ShuffledSlates, collate, ndcg, reference_lists

IDS = [f"i{number}" for number in range(9)]
CATALOGUE = Catalogue(
    item_ids=pl.Series("item_id", IDS),
    title=dict.fromkeys(IDS, ""),
    category=dict.fromkeys(IDS, ""),
    description=dict.fromkeys(IDS, ""),
    sid=dict.fromkeys(IDS, ""),
    codes={name: (at // 3, at % 3) for at, name in enumerate(IDS)},
)
SLATES = [
    Slate("a", ["i0", "i1", "i2"], ["i3", "i4", "i5"], [0.0, 1.0, 2.0]),
    Slate("b", [], ["i8"], [1.0]),
]


def test_slates_as_tensors_by_hand():
    requests = read_requests(SLATES, CATALOGUE, history=2)
    assert requests.history.tolist() == [[[0, 2], [0, 1]], [[NONE, NONE]] * 2], "newest first"
    assert requests.candidates.tolist() == [[[1, 0], [1, 1], [1, 2]], [[2, 2], [NONE, NONE], [NONE, NONE]]]
    assert requests.mask.tolist() == [[True] * 3, [True, False, False]]
    assert requests.history_mask.tolist() == [[True] * 2, [False] * 2]
    assert read_requests(SLATES[1:], CATALOGUE, history=2).history.shape == (1, 0, 2)


def test_references_by_hand():
    labels = torch.tensor([[0.0, 1.0, 2.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    there = torch.tensor([[True] * 4, [True, True, False, False]])
    assert reference_lists(labels, there, 3).tolist() == [[2, 1, 3], [0, 1, NONE]]


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=8).filter(any), st.integers(1, 8), st.data())
def test_the_utility_is_ndcg_and_the_reference_has_the_most(labels, size, data):
    own = torch.tensor([labels])
    best = reference_lists(own, torch.ones_like(own, dtype=torch.bool), size)
    assert ndcg(own, best).item() == pytest.approx(1.0)
    order = data.draw(st.permutations(range(len(labels))))
    ranked = np.array([[labels[at] for at in order]])
    assert ndcg(own, torch.tensor([order[:size]])).item() == pytest.approx(metrics.ndcg(ranked, size)[0], abs=1e-6)


def test_a_shuffled_slate_keeps_its_labels():
    torch.manual_seed(0)
    data, seen = ShuffledSlates([SLATES[0]]), set()
    for _ in range(50):
        drawn = data[0]
        seen.add(tuple(drawn.candidates))
        made = collate([drawn, SLATES[1]], CATALOGUE, history=5)
        assert dict(zip(drawn.candidates, drawn.labels, strict=True)) == {"i3": 0.0, "i4": 1.0, "i5": 2.0}
        assert made["labels"][0].tolist() == drawn.labels and made["labels"][1].tolist() == [1.0, 0.0, 0.0]
        assert made["candidates"][0].tolist() == [list(CATALOGUE.codes[item]) for item in drawn.candidates]
    assert len(seen) == 6


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


def test_lists_of_one_request_and_alternatives_for_a_place_do_not_see_each_other():
    torch.manual_seed(0)
    decoder = Decoder(8, heads=2, layers=2, dropout=0.0).eval()
    memory, there = decoder.memory(torch.randn(2, 4, 8)), torch.ones(2, 4, dtype=torch.bool)
    states = torch.randn(6, 3, 8)  # three lists of each request
    together, _ = decoder(states, memory, there)
    for row in range(6):
        own = [(key[row // 3 : row // 3 + 1], value[row // 3 : row // 3 + 1]) for key, value in memory]
        alone, past = decoder(states[row : row + 1], own, there[:1])
        torch.testing.assert_close(together[row : row + 1], alone)
        alternatives = torch.randn(1, 5, 8)
        several, _ = decoder(alternatives, own, there[:1], past, apart=True)
        single = [decoder(alternatives[:, at : at + 1], own, there[:1], past)[0] for at in range(5)]
        torch.testing.assert_close(several, torch.cat(single, 1))
