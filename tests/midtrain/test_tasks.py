import dataclasses
import itertools
import json
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.sid_tokens import SID
from gr2.language_model.chat import IGNORED
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.midtrain.exercises import make_exercises
from gr2.midtrain.packing import Encoder, collate, pack
from gr2.midtrain.tasks import captions, general, persona, sequential
from gr2.prompts.answer import parse
from gr2.prompts.prompt import load_prompt


def test_every_event_but_the_first_of_a_window_is_learned(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    history = catalogue.item_ids.to_list()[:23]
    documents = list(sequential([history], catalogue, window=10, rng=random.Random(0)))
    learned = [sid for document in documents for text, counts in document if counts for sid in SID.findall(text)]
    assert len(learned) >= len(history) - len(documents) - 1
    assert len(set(learned)) == len(learned)
    for (_, prompt_learned), (first, first_learned), *rest in documents:
        assert not prompt_learned and not first_learned and len(SID.findall(first)) == 1
        assert rest and all(learned for _, learned in rest)


def test_a_history_of_one_item_teaches_nothing(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    assert list(sequential([[catalogue.item_ids[0]]], catalogue, window=10, rng=random.Random(0))) == []


def test_passes_cut_histories_differently(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    histories = [catalogue.item_ids.to_list()[:30]] * 3
    rng = random.Random(0)
    first, second = (list(sequential(histories, catalogue, 10, rng)) for _ in range(2))
    assert first != second


def test_a_persona_is_a_history_with_what_its_items_are(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    history = catalogue.item_ids.to_list()[:7]
    documents = list(persona([history], catalogue, 10, random.Random(0)))
    told = []
    for (_, prompt_learned), (sid, first_learned), *rest in documents:
        assert not prompt_learned and not first_learned and all(learned for _, learned in rest)
        told += [text for text, _ in [(sid, False), *rest]]
    assert told[::2] == [catalogue.sid[item_id] for item_id in history]
    assert all(catalogue.title[item_id] in text for item_id, text in zip(history, told[1::2], strict=True))


def test_captions_go_both_ways(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    name = catalogue.item_ids[0]
    described = dataclasses.replace(catalogue, description={name: "A long story."})
    to_text, to_id = captions([name], described)
    assert [learned for _, learned in to_text] == [False, False, True] and to_text[0][0] == catalogue.sid[name]
    assert catalogue.title[name] in to_text[2][0] and to_text[2][0].endswith(". A long story.")
    assert catalogue.title[name] in to_id[0][0] and to_id[1] == (catalogue.sid[name], True)


def test_general_text_is_a_files_paragraphs_and_harmless(tmp_path):
    (tmp_path / "text.txt").write_text("One line\nand another.\n\nSecond <|im_end|> <s_a_1>.\n\n\n")
    pieces = list(general(str(tmp_path / "text.txt"), random.Random(0)))
    texts = sorted(text.strip() for ((text, learned),) in pieces if learned)
    assert texts == ["One line\nand another.", "Second ‹|im_end|› ‹s_a_1›."]


def test_general_text_can_be_a_data_sets_column(tmp_path):
    from datasets import Dataset

    Dataset.from_dict({"text": [f"Paragraph {number}." for number in range(5)]}).to_parquet(tmp_path / "train.parquet")
    texts = {text for ((text, _),) in general(str(tmp_path), random.Random(0))}
    assert texts == {f"Paragraph {number}." for number in range(5)}
    Dataset.from_dict({"words": ["no"]}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(InputError, match="expected a column 'text', found words"):
        list(general(str(tmp_path), random.Random(0)))


def test_general_text_that_is_nowhere_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a text file, or a data set that loads"):
        list(general(str(tmp_path / "nothing.txt"), random.Random(0)))


@pytest.mark.parametrize("name", ["student", "student_no_trace"])
def test_an_exercise_is_a_slate_and_its_best_answer(world, name):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    history = catalogue.item_ids.to_list()[:30]
    prompt = load_prompt(name)
    made = make_exercises(60, [history, history[:1]], 5, prompt, catalogue, random.Random(0))
    by_sid = {sid: item_id for item_id, sid in catalogue.sid.items()}
    indices = set()
    for messages, text in made:
        shown = [by_sid[match[0]] for match in SID.finditer(messages[1]["content"])]
        candidates, past = shown[:10], shown[10:]
        ranking = parse(text, candidates, catalogue.sid, prompt.has_trace).ranking
        index = history.index(ranking[0])
        indices.add(index)
        assert past == history[max(0, index - 5) : index] and past, "only what came before"
        assert ranking[1:] == [item_id for item_id in candidates if item_id != ranking[0]]
        assert not set(history[:index]) & set(candidates), "no candidate is from the user's past, as in a slate"
    assert max(indices) == 20, "of 30 items, 20 before the target leave ten candidates"


def test_an_explanation_cites_only_what_the_prompt_shows(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    prompt, history = dataclasses.replace(load_prompt("student"), max_history=2), catalogue.item_ids.to_list()[:30]
    for messages, text in make_exercises(60, [history], 20, prompt, catalogue, random.Random(0)):
        cited = {match[0] for match in SID.finditer(json.loads(text)["explanation"])}
        shown = {match[0] for match in SID.finditer(messages[1]["content"])}
        assert cited <= shown and len(shown) <= 10 + 2


def test_exercises_need_ten_items(world):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    prompt = load_prompt("student")
    for histories, found in (([catalogue.item_ids.to_list()[:9]], 9), ([[name] for name in catalogue.item_ids], 48)):
        with pytest.raises(InputError, match=f"two items or more.*found {found} different"):
            list(make_exercises(1, histories, 5, prompt, catalogue, random.Random(0)))


def test_labels_are_exact_to_the_token():
    tokenizer = train_tokenizer(["one two three"] * 3, 300)
    ids, labels = Encoder(tokenizer)([("one two", False), (" three", True)])
    learned = [label for label in labels if label != IGNORED]
    assert tokenizer.decode(learned) == " three"
    assert ids[-1] == tokenizer.eos_token_id and len(ids) == len(labels)


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=30), max_size=20), st.integers(1, 16))
def test_packing_keeps_order_and_loses_only_the_rest(documents, length):
    blocks = list(pack([(document, document) for document in documents], length))
    flat = [token for document in documents for token in document]
    packed = [token for block in blocks for token in block["input_ids"]]
    assert packed == flat[: len(packed)] and len(flat) - len(packed) < length
    assert all(len(values) == length for block in blocks for values in block.values())
    ends = set(itertools.accumulate(map(len, documents)))
    positions = [position for block in blocks for position in block["position_ids"]]
    restarts = {index for index, position in enumerate(positions) if position == 0}
    assert restarts == {index for index in range(len(packed)) if index % length == 0 or index in ends}


def test_a_packed_document_is_read_as_if_it_stood_alone():
    """Documents before it in its block change nothing; one cut by the block's end continues without its start."""
    tokenizer = train_tokenizer(["one two three"] * 3, 300)
    model = small_model(tokenizer, hidden_size=32, layers=2, heads=2, context=64, seed=0).eval()
    rng = random.Random(0)
    documents = [[rng.randrange(len(tokenizer)) for _ in range(size)] for size in (5, 9, 4, 14)]
    batch = collate(list(pack([(document, document) for document in documents], 16)))
    with torch.inference_mode():
        packed = model(**batch, use_cache=False).logits.flatten(0, 1)
        alone = [model(torch.tensor([document])).logits[0] for document in documents[:2]]
        cut = model(torch.tensor([documents[2][:2]])).logits[0]
    torch.testing.assert_close(packed[:16], torch.cat([*alone, cut]), atol=1e-5, rtol=1e-4)
