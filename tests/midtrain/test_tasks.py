import random

from hypothesis import given
from hypothesis import strategies as st

from gr2.data.catalogue import read_catalogue
from gr2.language_model.scratch import train_tokenizer
from gr2.midtrain.packing import IGNORED, encode, pack
from gr2.midtrain.tasks import captions, one_pass, sequential
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
