import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gr2.data.catalogue import read_catalogue
from gr2.language_model.beam import search
from gr2.language_model.loading import load_model, load_tokenizer, save_model
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.language_model.sequences import code_token_ids, next_item_prompt
from gr2.language_model.vocabulary import expand
from gr2.prerank.rankers import Query, beam_ranker, chunks, popularity_ranker
from gr2.semantic_ids.tokens import vocabulary
from gr2.semantic_ids.trie import build_trie


def test_popularity_by_hand():
    queries = [Query(["a"], [1]), Query(["zz", "a", "b"], [1, 3])]
    counts = {"b": 2, "a": 5, "c": 2, "d": 1}
    tops = list(popularity_ranker(queries, counts, 2, exclude_seen=True))
    assert tops == [(["b", "c"], [2.0, 2.0]), (["a", "b"], [5.0, 2.0]), (["c", "d"], [2.0, 1.0])]
    assert list(popularity_ranker(queries, counts, 2, exclude_seen=False)) == [(["a", "b"], [5.0, 2.0])] * 3


@given(st.sets(st.integers(1, 120), min_size=1, max_size=30), st.integers(1, 20), st.integers(1, 20))
def test_every_position_is_in_one_chunk_and_sees_enough_of_its_past(positions, history, more):
    query, window = Query([], sorted(positions)), history + more
    made = list(chunks(query, history, window))
    assert [position for _, group in made for position in group] == query.positions
    for start, group in made:
        for position in group:
            assert min(position, history) <= position - start <= window
            assert start >= 0


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


def answers(world, model, queries, **changed):
    options = {
        "candidates": 10,
        "beams": 48,
        "history": 40,
        "window": 60,
        "batch_size": 4,
        "exclude_seen": False,
    } | changed
    return list(beam_ranker(queries, read_catalogue(world.items, world.semantic_ids), model, **options))


ITEMS = [f"film{number:02d}" for number in (3, 7, 11, 15, 2, 19, 23, 27, 6, 31)]


def rounded(tops):
    return [(items, [round(score, 3) for score in scores]) for items, scores in tops]


def test_answers_come_query_by_query_whatever_the_batches(world, model):
    queries = [Query(ITEMS, [3, 7, 9]), Query(ITEMS[:4], [1, 2]), Query(ITEMS[::-1], [10])]
    whole = answers(world, model, queries)
    assert len(whole) == 6
    assert rounded(answers(world, model, queries, batch_size=1)) == rounded(whole)
    alone = [answers(world, model, [Query(query.items, [at])])[0] for query in queries for at in query.positions]
    assert rounded(alone) == rounded(whole)  # positions that share a pass do not disturb each other
    assert len({tuple(items) for items, _ in whole}) > 1  # the answer does depend on the history
    for items, scores in whole:
        assert len(items) == len(set(items)) == 10 and scores == sorted(scores, reverse=True)


def test_an_answer_is_that_of_the_history_before_its_position(world, model):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    network, tokenizer = load_model(model).eval(), load_tokenizer(model)
    trie = build_trie(np.array([catalogue.codes[name] for name in catalogue.item_ids]), 8)
    code_ids = torch.tensor(code_token_ids(tokenizer, 3))
    for at, (items, scores) in zip((1, 4, 10), answers(world, model, [Query(ITEMS, [1, 4, 10])]), strict=True):
        prompt = next_item_prompt([catalogue.sid[name] for name in ITEMS[:at]])
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        rows, expected = search(network, ids, torch.tensor([[ids.shape[1] - 1]]), trie, code_ids, 48)
        assert items == [catalogue.item_ids[row] for row in rows[0, 0, :10].tolist()]
        assert scores == pytest.approx(expected[0, 0, :10].tolist(), abs=1e-4)


def test_what_comes_later_changes_nothing(world, model):
    """The target and all after it are in the same row of tokens; an answer must not see them."""
    before = answers(world, model, [Query(ITEMS, [2, 4, 8])])
    after = answers(world, model, [Query([*ITEMS[:2], *ITEMS[:1:-1]], [2, 4, 8])])
    assert rounded(before)[0] == rounded(after)[0]
    assert rounded(before)[1] != rounded(after)[1]


def test_only_the_last_items_are_read(world, model):
    early = ["film01", "film05", *ITEMS]
    late = ["film41", "film45", *ITEMS]
    tops = [answers(world, model, [Query(items, [12])], history=4, window=5)[0] for items in (early, late)]
    assert rounded(tops)[0] == rounded(tops)[1]
    tops = [answers(world, model, [Query(items, [12])])[0] for items in (early, late)]
    assert rounded(tops)[0] != rounded(tops)[1]


def test_items_of_the_whole_past_can_be_dropped(world, model):
    query = Query(ITEMS * 3, [30])
    kept = answers(world, model, [query], exclude_seen=True, history=2, window=3, candidates=48)[0]
    given_all = answers(world, model, [query], history=2, window=3, candidates=48)[0]
    assert len(given_all[0]) == 48
    assert kept[0] == [item for item in given_all[0] if item not in ITEMS]
