import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.rerankers.list_writer.batch import NONE, Requests, canonical_order, from_request, to_request
from gr2.rerankers.list_writer.decode import write_lists
from gr2.rerankers.list_writer.network import SPACES, ListWriter, ListWriterConfig, remaining
from gr2.rerankers.list_writer.trie import admitted, pool

LEVELS, CODES = 2, 5
ALL = torch.cartesian_prod(torch.arange(CODES), torch.arange(CODES))  # 25 items
SWITCHES = {"shared": ["shared"], "look_ahead": ["look_ahead"], "both": ["shared", "look_ahead"]}
KINDS = [*SPACES, *SWITCHES]  # the last three: of the global space


def network(kind: str, seed: int = 0) -> ListWriter:
    """Untrained, large weights, so that answers depend on everything that is read."""
    torch.manual_seed(seed)
    model = ListWriter(
        ListWriterConfig(
            levels=LEVELS,
            codes=CODES,
            space="global" if kind in SWITCHES else kind,
            candidates=9,
            list_size=6,
            history=4,
            hidden_size=16,
            heads=2,
            encoder_layers=1,
            **dict.fromkeys(SWITCHES.get(kind, []), True),
        )
    )
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    return model.eval()


def made(sizes: list[int], seed: int = 0) -> Requests:
    """Requests of these many candidates, and one to four items of history."""
    rng = torch.Generator().manual_seed(seed)
    history, candidates = torch.full((len(sizes), 4, LEVELS), NONE), torch.full((len(sizes), max(sizes), LEVELS), NONE)
    for row, size in enumerate(sizes):
        candidates[row, :size] = ALL[torch.randperm(25, generator=rng)[:size]]
        past = 1 + row % 4
        history[row, :past] = ALL[torch.randint(25, (past,), generator=rng)]
    return Requests(history, candidates)


@given(st.sampled_from(KINDS), st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 6), st.booleans())
@settings(max_examples=40)
def test_every_list_is_valid_and_as_long_as_it_can_be(kind, sizes, length, sampled):
    model, asked = network(kind), made(sizes)
    with torch.no_grad():
        encoded = model.encode(asked)
        chosen = to_request(write_lists(model, encoded, length, torch.Generator() if sampled else None), encoded.order)
    for row, size in zip(chosen.tolist(), sizes, strict=True):
        listed = [place for place in row if place != NONE]
        assert len(listed) == len(set(listed)) == min(size, length) and all(0 <= place < size for place in listed)
        assert row == listed + [NONE] * (length - len(listed))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_step_by_step_is_what_whole_lists_are_scored_as(kind):
    """Greedy lists have, item by item, the highest log-probability; sampled ones come as often as their probability
    says.
    """
    model, asked = network(kind), made([4, 4, 4])
    with torch.no_grad():
        encoded = model.encode(asked)
        lists = torch.tensor([[a, b] for a in range(4) for b in range(4) if a != b])
        every = encoded.repeat(len(lists))
        probability = model.log_probs(every, lists.repeat(3, 1)).sum(1).exp().view(3, -1)
        torch.testing.assert_close(probability.sum(1), torch.ones(3))
        drawn = write_lists(model, encoded.repeat(4000), 2, torch.Generator().manual_seed(0)).view(3, 4000, 2)
        for row in range(3):
            seen = (drawn[row][:, None] == lists).all(2).float().mean(0)
            torch.testing.assert_close(seen, probability[row], atol=0.03, rtol=0)
        greedy = write_lists(model, encoded, 2)
        single = torch.stack([model.log_probs(encoded, torch.full((3, 1), place))[:, 0] for place in range(4)], 1)
        if kind in (
            "place",
            "pointer",
        ):  # elsewhere several items may share the best first code's probability
            assert greedy[:, 0].tolist() == single.argmax(1).tolist()


@given(st.randoms(use_true_random=False), st.sampled_from([kind for kind in KINDS if kind != "place"]))
@settings(max_examples=30)
def test_the_order_of_the_candidates_changes_nothing(rng, kind):
    model, asked = network(kind), made([9, 7, 9])
    order = [rng.sample(range(size), size) + list(range(size, 9)) for size in (9, 7, 9)]
    mixed = Requests(asked.history, asked.candidates.gather(1, torch.tensor(order)[..., None].expand(-1, -1, LEVELS)))
    with torch.no_grad():
        lists = []
        for requests in (asked, mixed):
            encoded = model.encode(requests)
            chosen = to_request(write_lists(model, encoded, 6), encoded.order)
            lists.append(requests.candidates.gather(1, chosen[..., None].expand(-1, -1, LEVELS)))
    assert lists[0].equal(lists[1])


def test_output_neurons_that_stand_for_places_do_depend_on_the_order():
    model, asked = network("place"), made([9] * 20)
    mixed = Requests(asked.history, asked.candidates.flip(1))
    with torch.no_grad():
        lists = []
        for requests in (asked, mixed):
            chosen = write_lists(model, model.encode(requests), 6)
            lists.append(requests.candidates.gather(1, chosen[..., None].expand(-1, -1, LEVELS)))
    assert not lists[0].equal(lists[1])


@pytest.mark.parametrize("kind", KINDS)
def test_other_requests_of_a_batch_and_padding_change_nothing(kind):
    model, asked = network(kind), made([9, 3, 6])
    with torch.no_grad():
        together = write_lists(model, model.encode(asked), 6)
        for row, size in enumerate((9, 3, 6)):
            alone = Requests(asked.history[row : row + 1, : 1 + row], asked.candidates[row : row + 1, :size])
            assert write_lists(model, model.encode(alone), 6)[0].tolist() == together[row].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_reaches_every_parameter(kind):
    model, asked = network(kind).train(), made([9, 3, 6])
    lists = torch.tensor([[0, 1, 2, 3, 4, 5], [2, 0, NONE, NONE, NONE, NONE], [5, 4, 3, 2, 1, NONE]])
    model(asked.history, asked.candidates, lists)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_log_probabilities_past_an_end_are_zero_and_padding_does_not_count():
    model, asked = network("global"), made([3])
    with torch.no_grad():
        encoded = model.encode(asked)
        short, padded = (model.log_probs(encoded, torch.tensor([row])) for row in ([2, 0], [2, 0, NONE, NONE]))
    assert padded[0, 2:].tolist() == [0, 0]
    torch.testing.assert_close(padded[:, :2], short)


def test_what_is_left_and_admitted_by_hand():
    there = torch.tensor([[True, True, True, False]])
    left = remaining(there, torch.tensor([[1, 0, NONE]]))
    assert left[0].int().tolist() == [[1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 0]]
    codes = torch.tensor([[3, 1, 3, NONE]])
    assert admitted(codes, left, 5)[0].int().tolist() == [[0, 1, 0, 1, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 0]]


@given(st.integers(1, 6), st.randoms(use_true_random=False))
def test_places_go_back_and_forth(size, rng):
    order = torch.tensor([rng.sample(range(size), size)])
    lists = torch.tensor([[*rng.sample(range(size), size), NONE]])
    read = from_request(lists, order)
    assert to_request(read, order).equal(lists)


def test_candidates_are_sorted_by_their_codes_with_padding_last():
    candidates = torch.tensor([[[2, 0], [0, 4], [0, 1], [NONE, NONE]]])
    assert canonical_order(candidates)[0].tolist() == [2, 1, 0, 3]


def test_saved_and_read_again_it_writes_the_same(tmp_path):
    model, asked = network("global"), made([9, 5])
    model.save_pretrained(tmp_path)
    again = ListWriter.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert write_lists(model, model.encode(asked), 6).equal(write_lists(again, again.encode(asked), 6))
    assert (tmp_path / "model.safetensors").exists()


def test_a_shared_row_is_input_and_output():
    """Two codes with the same vector have the same logit, until their output neurons' rows are their own."""
    for kind, same in (("shared", True), ("global", False)):
        model, asked = network(kind), made([9])
        with torch.no_grad():
            model.code.weight[1] = model.code.weight[0]
            for head in model.heads:
                head.bias.zero_()
            encoded = model.encode(asked)
            logits = model.logits(encoded.start, encoded, 0, encoded.mask[:, None])[0, 0]
        assert logits[0].isclose(logits[1]).item() == same


def test_candidates_under_a_code_by_hand():
    scores, codes = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), torch.tensor([[0, 1, 0, 2]])
    found = pool(scores, codes, torch.tensor([[[True, True, True, False]]]), 4)[0, 0]
    assert found[:2].tolist() == pytest.approx([torch.tensor([1.0, 3.0]).logsumexp(0).item(), 2.0])
    assert (found[2:] < -50).all(), "no candidate is left there"


def test_looking_ahead_alone_is_a_softmax_over_candidates():
    """Where the output neurons say nothing, and every action has the same state, the two codes of an item together have
    the probability that a pointer's softmax would give it: nothing is lost by writing codes.
    """
    model, asked = network("look_ahead"), made([9, 5])
    with torch.no_grad():
        for head, ahead in zip(model.heads, model.ahead, strict=True):
            head.weight.zero_(), head.bias.zero_()
            ahead.load_state_dict(model.ahead[0].state_dict())
        encoded = model.encode(asked)
        query = encoded.start
        scores = model.point(model.ahead[0](query), encoded)[:, 0].masked_fill(~encoded.mask, -1e9)
        first = model.logits(query, encoded, 0, encoded.mask[:, None])[:, 0]
        for item in range(5):
            same = encoded.mask & (encoded.codes[..., 0] == encoded.codes[:, item, :1])
            second = model.logits(query, encoded, 1, same[:, None])[:, 0]
            rows = torch.arange(2)
            together = first.log_softmax(-1)[rows, encoded.codes[:, item, 0]]
            together = together + second.log_softmax(-1)[rows, encoded.codes[:, item, 1]]
            torch.testing.assert_close(together, scores.log_softmax(-1)[:, item])


def test_a_network_may_have_ten_million_parameters():
    with torch.device("meta"):
        config = ListWriterConfig(levels=2, codes=256, look_ahead=True, hidden_size=384, encoder_layers=4)
        assert 9e6 < ListWriter(config).num_parameters() < 11e6
