import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.language_model.scratch import train_tokenizer
from gr2.midtrain.exercises import exercises
from gr2.midtrain.packing import IGNORED, encode, pack
from gr2.midtrain.tasks import captions, one_pass, sequential
from gr2.prompts import load_prompt, parse
from gr2.semantic_ids.tokens import SID


def test_every_event_but_the_first_of_a_window_is_learned(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    history = catalogue.item_ids.to_list()[:23]
    documents = list(sequential([history], catalogue, window=10, rng=random.Random(0)))
    learned = [sid for document in documents for text, counts in document if counts for sid in SID.findall(text)]
    assert len(learned) >= len(history) - len(documents) - 1
    assert len(set(learned)) == len(learned)
    for (prompt, first_learned), (_, second_learned) in documents:
        assert not first_learned and second_learned
        assert len(SID.findall(prompt)) == 1


def test_a_history_of_one_item_teaches_nothing(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    assert list(sequential([[catalogue.item_ids[0]]], catalogue, window=10, rng=random.Random(0))) == []


def test_passes_cut_histories_differently(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    histories = [catalogue.item_ids.to_list()[:30]] * 3
    rng = random.Random(0)
    first, second = (one_pass(histories, catalogue, 10, 0.0, rng) for _ in range(2))
    assert first != second


def test_captions_go_both_ways(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    name = catalogue.item_ids[0]
    to_text, to_id = captions([name], catalogue)
    assert catalogue.sid[name] in to_text[0][0] and catalogue.title[name] in to_text[1][0]
    assert catalogue.title[name] in to_id[0][0] and to_id[1] == (catalogue.sid[name], True)


@pytest.mark.parametrize("name", ["student", "student_no_trace"])
def test_an_exercise_is_a_slate_and_its_best_answer(world, name):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    history = catalogue.item_ids.to_list()[:30]
    prompt, tokenizer = load_prompt(f"prompts/{name}.yaml"), train_tokenizer(["word"] * 3, 300)
    made = exercises(20, [history, history[:1]], 5, prompt, catalogue, tokenizer, random.Random(0))
    by_sid = {sid: item_id for item_id, sid in catalogue.sid.items()}
    for (question, asked), (text, learned) in made:
        shown = [by_sid[match[0]] for match in SID.finditer(question)]
        candidates, past = shown[:10], shown[10:]
        ranking = parse(text, candidates, catalogue.sid, prompt.has_trace).ranking
        at = history.index(ranking[0])
        assert past == history[max(0, at - 5) : at] and past, "only what came before"
        assert ranking[1:] == [item_id for item_id in candidates if item_id != ranking[0]]
        assert not asked and learned and question.endswith("assistant\n")


def test_exercises_need_ten_items(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    made = exercises(1, [catalogue.item_ids.to_list()[:9]], 5, load_prompt("prompts/student.yaml"), catalogue,
                     train_tokenizer(["word"] * 3, 300), random.Random(0))  # fmt: skip
    with pytest.raises(InputError, match="found 9"):
        list(made)
    lone = [[item_id] for item_id in catalogue.item_ids]
    made = exercises(1, lone, 5, load_prompt("prompts/student.yaml"), catalogue, train_tokenizer(["word"] * 3, 300),
                     random.Random(0))  # fmt: skip
    with pytest.raises(InputError, match="two items"):
        list(made)


def test_labels_are_exact_to_the_token():
    tokenizer = train_tokenizer(["one two three"] * 3, 300)
    ids, labels = encode([("one two", False), (" three", True)], tokenizer)
    learned = [label for label in labels if label != IGNORED]
    assert tokenizer.decode(learned) == " three"
    assert ids[-1] == tokenizer.eos_token_id and len(ids) == len(labels)


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=30), max_size=20), st.integers(1, 16))
def test_packing_keeps_order_and_loses_only_the_rest(documents, length):
    blocks = list(pack([(document, document) for document in documents], length))
    flat = [token for document in documents for token in document]
    packed = [token for block in blocks for token in block["input_ids"]]
    assert packed == flat[: len(packed)] and len(flat) - len(packed) < length
    assert all(len(block["input_ids"]) == len(block["labels"]) == length for block in blocks)
