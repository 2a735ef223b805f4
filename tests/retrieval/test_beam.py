import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gr2.choices.legal_search import search
from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.sid_tokens import sid_string, vocabulary
from gr2.language_model.id_record import FILE, describe_ids
from gr2.language_model.loading import load_model, load_tokenizer
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.language_model.sequences import code_token_ids, next_item_prompt
from gr2.language_model.vocabulary import expand
from gr2.retrieval.beam import chunks, first_read, ranker
from gr2.semantic_ids.trie import build_trie
from tests.helpers import refused, save_model
from tests.retrieval.arrays import flat, lists

users = st.tuples(st.lists(st.integers(0, 5), min_size=2, max_size=60), st.sets(st.integers(1, 59), min_size=1)).map(
    lambda user: (user[0], sorted(at for at in user[1] if at < len(user[0])) or [1])
)


@given(st.lists(users, min_size=1, max_size=4), st.integers(1, 20), st.integers(0, 20))
def test_every_query_is_in_one_chunk_of_its_user_and_reads_enough_of_its_past(made, history, more):
    queries, window = flat(*made), history + more
    found = chunks(queries, history, window)
    assert [number for chunk in found for number in range(chunk.first, chunk.end)] == list(range(len(queries)))
    for chunk in found:
        assert len(set(queries.start[chunk.first : chunk.end])) == 1 and chunk.start >= queries.start[chunk.first]
        for at in queries.at[chunk.first : chunk.end]:
            assert min(at - queries.start[chunk.first], history) <= at - chunk.start <= window


@given(users, st.integers(1, 20), st.integers(0, 20), st.data())
def test_what_a_position_reads_hangs_on_no_other_position(user, history, more, data):
    items, positions = user
    kept = sorted(data.draw(st.sets(st.sampled_from(positions), min_size=1)))
    starts = []
    for asked in (positions, kept):
        queries = flat(([0] * 7, [3]), (items, asked))
        starts.append(
            dict(zip(queries.at.tolist(), first_read(queries, history, history + more).tolist(), strict=True))
        )
    assert starts[1].items() <= starts[0].items()


def test_neighbouring_positions_share_a_pass():
    """Of 60 positions the first 20 read all that there is; then every eleven of them start at the same item."""
    found = chunks(flat(([0] * 61, list(range(1, 61)))), history=10, window=20)
    assert [(chunk.end - chunk.first, chunk.start) for chunk in found] == [
        (20, 0),
        (11, 11),
        (11, 22),
        (11, 33),
        (7, 44),
    ]


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


def test_an_item_of_the_whole_past_is_never_found_and_all_others_are(world, model):
    user = [*ITEMS * 3, 0], [30]
    kept = answers(world, model, user, exclude_seen=True, history=2, window=3, count=48)[0]
    given_all = answers(world, model, user, history=2, window=3, count=48)[0]
    assert len(given_all) == 48
    assert rounded([kept]) == rounded([[(item, score) for item, score in given_all if item not in ITEMS]])


@pytest.mark.parametrize("count", [1, 10, 38, 48])
def test_a_narrow_search_fills_its_list_with_unseen_items(world, model, count):
    """Ten beams for ten places, and ten films of 48 seen, whatever else is in the batch; 38 are left."""
    users = (ITEMS[:3], [1]), ([*ITEMS, 0], [10]), ([*ITEMS * 3, 0], [2, 30])
    found = answers(world, model, *users, exclude_seen=True, beams=count, count=count, batch_size=3)
    pasts = [ITEMS[:1], ITEMS, ITEMS[:2], ITEMS]
    for top, past in zip(found, pasts, strict=True):
        items = {item for item, _ in top}
        assert len(top) == len(items) == min(count, 48 - len(past)) and not items & set(past)


def test_a_user_who_has_seen_whole_branches_gets_all_that_is_left(world, model):
    """Of the films that begin with the code 7 all are seen but one; of those with 4 all."""
    catalogue = read_catalogue(world.items, world.semantic_ids)
    first = [catalogue.codes[name][0] for name in catalogue.item_ids]
    sevens = [row for row, code in enumerate(first) if code == 7]
    seen = [*sevens[1:], *(row for row, code in enumerate(first) if code == 4)]
    (top,) = answers(
        world, model, ([*seen, 0], [len(seen)]), exclude_seen=True, beams=48 - len(seen), count=48 - len(seen)
    )
    assert {item for item, _ in top} == set(range(48)) - set(seen)


def test_a_model_without_the_ids_tokens_is_refused(world, tmp_path):
    """An item that was appended later has a code that the model was not taught; a base model was taught none."""
    catalogue = read_catalogue(world.items, world.semantic_ids)
    tokenizer = train_tokenizer(["One user chose these items, oldest first:"], 300)
    made = small_model(tokenizer, hidden_size=32, layers=1, heads=2, context=64, seed=0)
    save_model(made, tokenizer, tmp_path / "base")
    expand(made, tokenizer, vocabulary(3, 7), seed=0)
    save_model(made, tokenizer, tmp_path / "fewer")
    options = {"count": 3, "beams": 3, "history": 4, "window": 4, "batch_size": 4, "exclude_seen": True}
    for folder in ("base", "fewer"):
        with pytest.raises(
            InputError, match=f"{folder}: the model does not know <.*run gr2 midtrain on these IDs first"
        ):
            ranker(catalogue, str(tmp_path / folder), **options)
    complaint = refused("slates", "--items", world.items, "--interactions", world.interactions,
                        "--output_dir", tmp_path / "out", "--semantic_ids", world.semantic_ids,
                        "--model_name_or_path", tmp_path / "base")  # fmt: skip
    assert "the model does not know" in complaint and not (tmp_path / "out").exists()
    deeper = Catalogue(
        **vars(catalogue) | {"sid": {name: sid_string((*codes, 0)) for name, codes in catalogue.codes.items()}}
    )
    with pytest.raises(InputError, match="does not know"):
        ranker(deeper, str(tmp_path / "fewer"), **options)


def test_a_model_that_was_taught_other_ids_is_refused(world, model, tmp_path):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    shutil.copytree(model, tmp_path / "model")
    write_json(tmp_path / "model" / FILE, describe_ids(catalogue))
    assert answers(world, str(tmp_path / "model"), (ITEMS, [2])) == answers(world, model, (ITEMS, [2]))
    turned = dict(zip(catalogue.sid, reversed(catalogue.sid.values()), strict=True))
    write_json(tmp_path / "model" / FILE, describe_ids(Catalogue(**vars(catalogue) | {"sid": turned})))
    with pytest.raises(InputError, match="was taught other IDs"):
        answers(world, str(tmp_path / "model"), (ITEMS, [2]))
