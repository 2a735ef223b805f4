"""A list while it is written, without a model: random candidates, random log-probabilities."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.choices.drawing import Drawing, draw, keep_likeliest
from gr2.choices.spelling import Spelling
from gr2.choices.walk import ListWriter, Plan
from tests.choices.brute_force import TEXT, spelling_of

SHARED = 5  # a token of IDs and of what stands between two
OWN = 6  # a token that stands between two IDs, and in none
IDS = st.lists(st.lists(st.sampled_from([SHARED, 10, 11]), min_size=1, max_size=4), min_size=1, max_size=9)


def random_log_probs(plan: Plan, random: Random) -> list[list[float]]:
    rows = []
    for _, among in plan.branches:
        weights = [random.random() + 1e-3 for _ in among]
        rows.append([math.log(weight / sum(weights)) for weight in weights])
    return rows


def seen_at(plan: Plan, index: int) -> list[int]:
    """The plan's tokens that a model has seen at this one, itself included."""
    if index < plan.decided:
        return plan.tokens[: index + 1]
    return [*seen_at(plan, plan.parents[index - plan.decided]), plan.tokens[index]]


def admitted(ways: list[list[int]]) -> dict[tuple[int, ...], set[int]]:
    """What may follow each start of these ways, where it is more than one token."""
    after: dict[tuple[int, ...], set[int]] = {}
    for way in ways:
        for place, token in enumerate(way):
            after.setdefault(tuple(way[:place]), set()).add(token)
    return {start: tokens for start, tokens in after.items() if len(tokens) > 1}


def unique(ids: list[list[int]]) -> list[list[int]]:
    return [list(item) for item in dict.fromkeys(map(tuple, ids))]


@given(IDS, st.sampled_from([0.0, 0.7, 1.0]), st.sampled_from([0.5, 1.0]), st.integers(0, 2**40))
def test_a_list_is_written_as_its_plans_say(ids, temperature, top_p, seed):
    ids, random = unique(ids), Random(seed)
    spelling = Spelling([8], ids, [SHARED, OWN, SHARED] if len(ids) > 1 else [], [SHARED, 7, 2])
    ways = [item + spelling.between for item in ids]
    writer, text, scored, steps = ListWriter(spelling, TEXT, Drawing(temperature, top_p, seed)), [], [], 0
    while not writer.done:
        plan, unused = writer.plan(), [index for index in range(len(ids)) if index not in writer.order]
        assert len(plan.parents) == len(plan.tokens) - plan.decided and plan.decided > 0
        assert all(parent < plan.decided + column for column, parent in enumerate(plan.parents))
        start = [*TEXT, *spelling.write([*writer.order, unused[0]])[: -len(ids[unused[0]] + spelling.closing)]]
        seen = {tuple((text + seen_at(plan, index))[len(start) :]): set(among) for index, among in plan.branches}
        assert seen == admitted([ways[index] for index in unused])
        assert all(len(set(among)) == len(among) > 1 for _, among in plan.branches)

        log_probs = random_log_probs(plan, random)
        scores = writer.score_candidates(log_probs)
        assert sum(map(math.exp, scores)) == pytest.approx(1)
        assert [index for index, score in enumerate(scores) if score > -math.inf] == unused
        read = writer.choose(log_probs)
        assert all(index >= plan.decided for index in read) and read == sorted(read)
        text += plan.tokens[: plan.decided] + [plan.tokens[index] for index in read]
        scored.append(scores[writer.order[steps]])
        steps += 1
        assert text == [*TEXT, *spelling.write(writer.order)][: len(text)]

    assert sorted(writer.order) == list(range(len(ids))) and steps == len(ids) - 1
    assert writer.log_probs == pytest.approx([*scored, 0.0])
    tokens, end = spelling.write(writer.order), 0
    expected = []
    for position, index in enumerate(writer.order):
        unused = [ways[other] for other in writer.order[position:]]
        expected += [
            (end + len(start), ways[index][len(start)], among)
            for start, among in admitted(unused).items()
            if tuple(ways[index][: len(start)]) == start
        ]
        end += len(ways[index])
    assert [(choice.place, choice.token, set(choice.among)) for choice in writer.choices] == sorted(expected)
    assert all(tokens[choice.place] == choice.token for choice in writer.choices)
    assert all(len(choice.among) > 1 for choice in writer.choices)


@pytest.mark.parametrize("candidates", [1, 2, 64, 65, 200])
def test_slates_of_any_size(candidates):
    ids = [[3, 10 + index // 36, 20 + index // 6 % 6, 30 + index % 6, 4] for index in range(candidates)]
    writer, random, steps = ListWriter(spelling_of(ids), TEXT, Drawing(1.0, seed=3)), Random(candidates), 0
    while not writer.done:
        plan = writer.plan()
        assert (
            len(plan.tokens) - plan.decided <= candidates / 2
        )  # each token read ahead leads to two candidates or more
        writer.choose(random_log_probs(plan, random))
        steps += 1
    assert sorted(writer.order) == list(range(candidates)) and steps == candidates - 1
    assert writer.log_probs[-1] == 0.0
    assert len({choice.place for choice in writer.choices}) == len(writer.choices)


def test_one_candidate_is_written_at_once():
    writer = ListWriter(Spelling([8], [[3, 4]], [], [7, 2]), TEXT, Drawing())
    assert writer.done and writer.order == [0] and writer.log_probs == [0.0] and not writer.choices


def test_an_id_that_begins_another_is_told_from_it_by_what_follows():
    """Ends of `5-7` and `5-72`: a quote, or one more digit."""
    writer = ListWriter(Spelling([8], [[15, 17], [15, 17, 12]], [90, 91], [92, 2]), TEXT, Drawing())
    plan = writer.plan()
    assert plan.tokens == [*TEXT, 15, 17] and plan.branches == [(len(TEXT) + 1, [90, 12])]
    writer.choose([[math.log(0.3), math.log(0.7)]])
    assert writer.done and writer.order == [1, 0]
    assert [(choice.place, choice.token) for choice in writer.choices] == [(2, 12)]
    assert writer.log_probs == [pytest.approx(math.log(0.7)), 0.0]


def test_what_leads_to_several_candidates_is_read_ahead_and_what_leads_to_one_is_not():
    ids = [[3, 10, 20, 4], [3, 10, 21, 4], [3, 11, 20, 4]]
    writer = ListWriter(spelling_of(ids), TEXT, Drawing())
    plan = writer.plan()
    assert plan.tokens == [*TEXT, 3, 10] and plan.decided == len(TEXT) + 1
    assert plan.parents == [len(TEXT)]
    assert plan.branches == [(len(TEXT), [10, 11]), (len(TEXT) + 1, [20, 21])]
    assert writer.score_candidates([[-1.0, -2.0], [-0.25, -0.5]]) == [-1.25, -1.5, -2.0]
    assert writer.choose([[-2.0, -1.0], [-0.25, -0.5]]) == []  # what was read ahead was not chosen
    assert writer.order == [2] and writer.log_probs == [-1.0]
    plan = writer.plan()
    assert plan.tokens == [11, 20, 4, 5, 6, 5, 3, 10] and plan.decided == 8  # both that are left go on with 3, 10
    assert plan.branches == [(7, [20, 21])]


def test_a_token_that_was_read_ahead_and_chosen_is_not_read_again():
    ids = [[3, 10, 20, 4], [3, 10, 21, 4], [3, 11, 20, 4]]
    writer = ListWriter(spelling_of(ids), TEXT, Drawing())
    plan = writer.plan()
    assert writer.choose([[-1.0, -2.0], [-0.5, -0.25]]) == [plan.decided]
    assert writer.order == [1] and writer.log_probs == [-1.25]
    assert writer.plan().tokens == [21, 4, 5, 6, 5, 3]


def test_greedy_takes_the_likeliest_candidate_not_the_likeliest_start():
    log = math.log
    writer = ListWriter(spelling_of([[3, 4], [3, 5], [3, 6], [7, 8]]), TEXT, Drawing())
    writer.plan()
    writer.choose([[log(0.6), log(0.4)], [log(0.5), log(0.25), log(0.25)]])
    assert writer.order == [3] and writer.log_probs == [log(0.4)]


def test_greedy_takes_the_first_of_equal_ones():
    writer = ListWriter(spelling_of([[3], [4], [5]]), TEXT, Drawing())
    writer.plan()
    writer.choose([[-2.0, -1.0, -1.0]])
    assert writer.order == [1]


def test_the_fewest_likeliest_that_have_top_p_are_kept():
    assert keep_likeliest([1, 4, 3, 2], 0.5) == [0, 4, 3, 0]
    assert keep_likeliest([1, 4, 3, 2], 0.4) == [0, 4, 0, 0]
    assert keep_likeliest([1, 4, 3, 2], 1e-9) == [0, 4, 0, 0]
    assert keep_likeliest([2, 2, 2], 0.5) == [2, 2, 0]


@given(st.lists(st.floats(-500, 0), min_size=2, max_size=8), st.floats(1e-4, 50), st.integers(0, 2**64))
def test_a_token_can_be_drawn_at_any_temperature(log_probs, temperature, seed):
    likeliest = max(log_probs)
    assert draw(log_probs, Drawing(temperature), Random(seed)) == draw(log_probs, Drawing(temperature), Random(seed))
    assert log_probs[draw(log_probs, Drawing(temperature, top_p=1e-6), Random(seed))] > likeliest - 1e-9
    assert log_probs[draw(log_probs, Drawing(1e-6), Random(seed))] > likeliest - 1e-3
