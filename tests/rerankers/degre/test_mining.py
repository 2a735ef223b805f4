from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.rerankers.degre.evaluator import Evaluator, EvaluatorConfig
from gr2.rerankers.degre.inputs import EvaluatorInput
from gr2.rerankers.degre.judge import Judge
from gr2.rerankers.degre.lookahead import Labels, Lookahead, score_lists
from gr2.rerankers.degre.mining import mine
from gr2.rerankers.list_writer.batch import NONE

LEVELS, CODES, SIZE, VECTOR = 2, 5, 3, 3
IDS = torch.cartesian_prod(torch.arange(CODES), torch.arange(CODES))
NAMES = ("popularity", "rank")


def evaluator(seed: int = 0) -> Evaluator:
    """Untrained, large weights, so that values depend on everything that is read."""
    torch.manual_seed(seed)
    shape = {"items": 25, "levels": LEVELS, "codes": CODES, "vector_size": VECTOR, "features": NAMES}
    model = Evaluator(EvaluatorConfig(**shape, list_size=SIZE, history=4, hidden_size=16, heads=2))
    for parameter in model.parameters():
        parameter.data.normal_(std=0.4)
    model.ids.copy_(IDS)
    model.vectors.normal_()
    return model.eval()


def made(sizes: list[int], seed: int = 0) -> EvaluatorInput:
    """Slates of these many candidates; the first has no history."""
    rng = torch.Generator().manual_seed(seed)
    history, candidates = torch.full((len(sizes), 4), NONE), torch.full((len(sizes), max(sizes)), NONE)
    for row, size in enumerate(sizes):
        candidates[row, :size] = torch.randperm(25, generator=rng)[:size]
        history[row, : row % 5] = torch.randint(25, (row % 5,), generator=rng)
    return EvaluatorInput(history, candidates, torch.randn(len(sizes), max(sizes), len(NAMES), generator=rng))


def alone(seen: EvaluatorInput, row: int) -> EvaluatorInput:
    return EvaluatorInput(*(part[row : row + 1] for part in seen))


def whole(model: Evaluator, seen: EvaluatorInput, row: int, places: list[int]) -> list[float]:
    """V of every prefix of a list, each read as a whole list by the network that is trained."""
    values = []
    for length in range(1, len(places) + 1):
        lists = torch.tensor([[places[:length]]])
        values.append(model(*alone(seen, row), lists, torch.zeros_like(lists))["probabilities"].sum().item())
    return values


def discounted(values: list[float]) -> float:
    return sum(
        (value - before) / torch.tensor(rank + 2.0).log2().item()
        for rank, (before, value) in enumerate(zip([0.0, *values], values, strict=False))
    )


def test_probabilities_fall_in_k_and_no_prefix_has_more_relevant_items_than_items():
    model, seen = evaluator(), made([5, 5, 5])
    with torch.no_grad():
        for length in (1, 2, 3):
            lists = torch.arange(length).expand(3, 2, -1)
            found = model(*seen, lists, torch.zeros_like(lists))["probabilities"]
            assert found.shape == (3, 2, SIZE) and (found[..., length:] == 0).all() and (found[..., :length] > 0).all()
            assert (found[..., :length].diff(dim=-1) < 0).all()


def test_the_loss_by_hand_and_it_reaches_every_parameter():
    model, seen = evaluator().train(), made([4, 3, 4])
    lists = torch.tensor([[[0, 1, 2]], [[2, 0, NONE]], [[3, 1, 0]]])
    outcomes = torch.tensor([[[0, 1, 1]], [[1, 1, 1]], [[0, 0, 0]]])
    model.eval()
    found = model(*seen, lists, outcomes)["loss"].item()
    terms = []
    for row, length in enumerate((3, 2, 3)):
        for prefix in range(1, length + 1):
            part = lists[row : row + 1, :, :prefix]
            says = model(*alone(seen, row), part, torch.zeros_like(part))["probabilities"][0, 0]
            reached = outcomes[row, 0, prefix - 1].item()
            terms += [-(says[k] if reached > k else 1 - says[k]).log().item() for k in range(prefix)]
    assert found == pytest.approx(sum(terms) / len(terms), rel=1e-4)
    model.train()(*seen, lists, outcomes)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("sizes", [[4, 4], [5, 3, 2, 1]])
def test_with_room_for_all_the_search_enumerates_and_scores_as_whole_lists_do(sizes):
    model, seen = evaluator(), made(sizes)
    with torch.no_grad():
        found = mine(Lookahead(model, seen), seen.mask, SIZE, beams=200)
        for row, size in enumerate(sizes):
            length = min(size, SIZE)
            expected = {
                order: discounted(whole(model, seen, row, list(order))) for order in permutations(range(size), length)
            }
            listed = {
                tuple(place for place in places if place != NONE): value
                for places, value in zip(found.lists[row].tolist(), found.scores[row].tolist(), strict=True)
                if value > -float("inf")
            }
            assert listed.keys() == expected.keys()
            assert listed == pytest.approx(expected, abs=1e-4)
            assert found.scores[row].tolist() == sorted(found.scores[row].tolist(), reverse=True)


def test_values_are_those_of_every_candidate_after_each_prefix():
    model, seen = evaluator(), made([5, 5])
    with torch.no_grad():
        found = mine(Lookahead(model, seen), seen.mask, SIZE, beams=4)
        for row in range(2):
            for beam in range(4):
                places = found.lists[row, beam].tolist()
                for length in range(SIZE):
                    for candidate in set(range(5)) - set(places[:length]):
                        expected = whole(model, seen, row, [*places[:length], candidate])[-1]
                        assert found.values[row, beam, length, candidate].item() == pytest.approx(expected, abs=1e-4)


def test_a_list_alone_is_scored_as_in_the_search():
    model, seen = evaluator(), made([5, 2])
    with torch.no_grad():
        found = mine(Lookahead(model, seen), seen.mask, SIZE, beams=2)
        torch.testing.assert_close(score_lists(model, seen, torch.zeros(2, 5), found.lists), found.scores)


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.integers(1, 4), st.integers(1, 9))
@settings(max_examples=60)
def test_by_the_labels_the_best_list_has_the_relevant_first(relevant, size, beams):
    labels = torch.tensor([relevant]).float()
    mask = torch.ones_like(labels, dtype=torch.bool)
    found = mine(Labels(labels), mask, size, beams)
    assert found.lists.shape == (1, beams, size)
    best = [relevant[place] for place in found.lists[0, 0].tolist() if place != NONE]
    assert best == sorted(best, reverse=True) and sum(best) == min(sum(relevant), size)
    alive = [
        tuple(row) for row, value in zip(found.lists[0].tolist(), found.scores[0].tolist(), strict=True) if value >= 0
    ]
    assert len(alive) == len(set(alive)) > 0
    for row in alive:
        places = [place for place in row if place != NONE]
        assert len(places) == len(set(places)) == min(size, len(relevant))
    again = score_lists(None, made([1]), labels, found.lists[:, :1]).item()
    assert again == pytest.approx(found.scores[0, 0].item(), abs=1e-5)


def test_labels_share_a_lists_value_and_q_is_a_geometric_mixture():
    model, seen = evaluator(), made([5, 5])
    labels = torch.tensor([[0.0, 1, 0, 1, 0], [1.0, 0, 0, 0, 1]])
    with torch.no_grad():
        own, mixed = (
            mine(Judge(model, None, weight).lookahead(seen, labels), seen.mask, SIZE, 60) for weight in (0, 0.25)
        )
        place = {tuple(places): beam for beam, places in enumerate(own.lists[0].tolist())}
        for beam, places in enumerate(mixed.lists[0].tolist()):
            for at in range(SIZE):
                by_labels = labels[0, places[:at]].sum() + labels[0]
                expected = 0.75 * own.values[0, place[tuple(places)], at] + 0.25 * by_labels
                torch.testing.assert_close(mixed.values[0, beam, at], expected)
        first, relevant = own.values[0, 0, 0], labels[0]
        product = (first / 0.1).softmax(0) ** 0.75 * (relevant / 0.1).softmax(0) ** 0.25
        torch.testing.assert_close((mixed.values[0, 0, 0] / 0.1).softmax(0), product / product.sum())
        torch.testing.assert_close(Judge(model, None, 0.25).scores(seen, labels, mixed.lists), mixed.scores)
        alone = mine(Judge(model, None, 1.0).lookahead(seen, labels), seen.mask, SIZE, 60)
        torch.testing.assert_close(alone.values, mine(Judge().lookahead(seen, labels), seen.mask, SIZE, 60).values)
