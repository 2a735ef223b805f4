import numpy as np
import pytest
import torch
from arrays import flat, lists
from hypothesis import given
from hypothesis import strategies as st

from gr2.data.catalogue import read_catalogue
from gr2.language_model.beam import search
from gr2.language_model.loading import load_model, load_tokenizer, save_model
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.language_model.sequences import code_token_ids, next_item_prompt
from gr2.language_model.vocabulary import expand
from gr2.prerank.beam import all_chunks, chunks, ranker
from gr2.semantic_ids.tokens import vocabulary
from gr2.semantic_ids.trie import build_trie


@given(
    st.sets(st.integers(1, 120), min_size=1, max_size=30), st.integers(1, 20), st.integers(1, 20), st.integers(0, 50)
)
def test_every_position_is_in_one_chunk_and_sees_enough_of_its_past(places, history, more, start):
    positions, window = [start + place for place in sorted(places)], history + more
    made = list(chunks(start, positions, history, window))
    assert [position for _, group in made for position in group] == positions
    for first, group in made:
        for position in group:
            assert min(position - start, history) <= position - first <= window
            assert first >= start


users = st.tuples(st.lists(st.integers(0, 5), min_size=2, max_size=40), st.sets(st.integers(1, 39), min_size=1)).map(
    lambda user: (user[0], sorted(at for at in user[1] if at < len(user[0])) or [1])
)


@given(st.lists(users, min_size=1, max_size=4), st.integers(1, 6), st.integers(1, 6))
def test_every_query_is_in_one_row_and_no_row_crosses_users(made, history, more):
    queries, window = flat(*made), history + more
    rows = all_chunks(queries, history, window)
    assert [number for first, end, _ in rows for number in range(first, end)] == list(range(len(queries)))
    for first, end, start in rows:
        assert len(set(queries.start[first:end])) == 1 and start >= queries.start[first]
        for at in queries.at[first:end]:
            assert min(at - queries.start[first], history) <= at - start <= window


@pytest.fixture(scope="module")
def model(world, tmp_path_factory):
    """An untrained model whose answers still depend on all it reads."""
    tokenizer = train_tokenizer(["One user chose these items, oldest first:"], 300)
    made = small_model(tokenizer, hidden_size=32, layers=2, heads=2, context=512, seed=0)
    expand(made, tokenizer, vocabulary(3, 8), seed=0)
    for parameter in made.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(std=0.3)
    folder = tmp_path_factory.mktemp("model")
    save_model(made, tokenizer, folder)
    return str(folder)


def answers(world, model, *users, **changed):
    options = {"count": 10, "beams": 48, "history": 40, "window": 60, "batch_size": 4, "exclude_seen": False} | changed
    return lists(ranker(read_catalogue(world.items, world.semantic_ids), model, **options)(flat(*users)))


ITEMS = [3, 7, 11, 15, 2, 19, 23, 27, 6, 31]


def rounded(tops):
    return [[(item, round(score, 3)) for item, score in top] for top in tops]


def test_answers_come_query_by_query_whatever_the_batches(world, model):
    users = (ITEMS, [3, 7, 9]), (ITEMS[:4], [1, 2]), ([*ITEMS[::-1], 0], [10])
    whole = answers(world, model, *users)
    assert len(whole) == 6
    assert rounded(answers(world, model, *users, batch_size=1)) == rounded(whole)
    alone = [answers(world, model, (items, [at]))[0] for items, positions in users for at in positions]
    assert rounded(alone) == rounded(whole)  # positions that share a pass do not disturb each other
    assert len({tuple(item for item, _ in top) for top in whole}) > 1  # the answer does depend on the history
    for top in whole:
        scores = [score for _, score in top]
        assert len({item for item, _ in top}) == 10 and scores == sorted(scores, reverse=True)


def test_an_answer_is_that_of_the_history_before_its_position(world, model):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    network, tokenizer = load_model(model).eval(), load_tokenizer(model)
    trie = build_trie(np.array([catalogue.codes[name] for name in catalogue.item_ids]), 8)
    code_ids = torch.tensor(code_token_ids(tokenizer, 3))
    for at, top in zip((1, 4, 10), answers(world, model, ([*ITEMS, 0], [1, 4, 10])), strict=True):
        prompt = next_item_prompt([catalogue.sid[catalogue.item_ids[item]] for item in ITEMS[:at]])
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        rows, expected = search(network, ids, torch.tensor([[ids.shape[1] - 1]]), trie, code_ids, 48)
        assert [item for item, _ in top] == rows[0, 0, :10].tolist()
        assert [score for _, score in top] == pytest.approx(expected[0, 0, :10].tolist(), abs=1e-4)


def test_what_comes_later_changes_nothing(world, model):
    """The target and all after it are in the same row of tokens; an answer must not see them."""
    before = answers(world, model, (ITEMS, [2, 4, 8]))
    after = answers(world, model, ([*ITEMS[:2], *ITEMS[:1:-1]], [2, 4, 8]))
    assert rounded(before)[0] == rounded(after)[0]
    assert rounded(before)[1] != rounded(after)[1]


def test_only_the_last_items_are_read(world, model):
    early, late = ([*start, *ITEMS, 0] for start in ([1, 5], [41, 45]))
    tops = [answers(world, model, (items, [12]), history=4, window=5)[0] for items in (early, late)]
    assert rounded(tops)[0] == rounded(tops)[1]
    tops = [answers(world, model, (items, [12]))[0] for items in (early, late)]
    assert rounded(tops)[0] != rounded(tops)[1]


def test_other_users_are_not_read(world, model):
    """Users lie one after the other in one array; the first positions of each see nothing of the one before."""
    alone = answers(world, model, (ITEMS, [1, 2]))
    for others in (ITEMS[::-1], [44, 45]):
        assert rounded(answers(world, model, (others, [1]), (ITEMS, [1, 2])))[1:] == rounded(alone)


def test_items_of_the_whole_past_can_be_dropped(world, model):
    user = [*ITEMS * 3, 0], [30]
    kept = answers(world, model, user, exclude_seen=True, history=2, window=3, count=48)[0]
    given_all = answers(world, model, user, history=2, window=3, count=48)[0]
    assert len(given_all) == 48
    assert rounded([kept]) == rounded([[(item, score) for item, score in given_all if item not in ITEMS]])


def test_places_that_dropped_items_leave_are_taken_by_the_next_beams(world, model):
    user = [*ITEMS, 0], [10]
    ten, more = (answers(world, model, user, exclude_seen=True, beams=beams)[0] for beams in (10, 48))
    assert len(ten) < 10 and len(more) == 10
    assert not {item for item, _ in more} & set(ITEMS)
