import random

import pytest

from gr2.data.catalogue import read_catalogue
from gr2.files.sid_tokens import code_token, sid_string, vocabulary
from gr2.language_model.scratch import train_tokenizer
from gr2.language_model.sequences import HISTORY, code_token_ids, next_item_prompt
from gr2.midtrain.tasks import sequential


def tokenizer_with(tokens):
    tokenizer = train_tokenizer(["One user chose these items, oldest first:"], 300)
    tokenizer.add_tokens(tokens)
    return tokenizer


def test_a_prompt_is_the_history_and_an_opened_id():
    sids = [sid_string([1, 2]), sid_string([0, 3])]
    assert next_item_prompt(sids) == "History:" + "".join(sids) + "<|sid_begin|>"
    assert next_item_prompt(sids[:1]) + sids[1].removeprefix("<|sid_begin|>") == "History:" + "".join(sids)


def test_a_prompt_is_the_beginning_of_a_document_of_mid_training(world):
    """Training and searching must use one format."""
    catalogue = read_catalogue(world.items, world.semantic_ids)
    history = ["film03", "film07", "film11"]
    (pieces,) = sequential([history], catalogue, 40, random.Random(1))
    document = "".join(text for text, _ in pieces)
    assert document == HISTORY + "".join(catalogue.sid[item] for item in history)
    assert document.startswith(next_item_prompt([catalogue.sid[item] for item in history[:2]]))
    assert [learned for _, learned in pieces] == [False, False, True, True]


def test_token_ids_by_level_and_code():
    tokenizer = tokenizer_with(vocabulary(3, 4))
    table = code_token_ids(tokenizer, 3)
    assert [len(level) for level in table] == [4, 4, 4]
    assert table == [
        [tokenizer.convert_tokens_to_ids(code_token(level, code)) for code in range(4)] for level in range(3)
    ]
    assert len({number for level in table for number in level}) == 12


@pytest.mark.parametrize("missing", ["<|sid_begin|>", "<|sid_end|>", "<s_b_0>"])
def test_a_model_that_never_saw_the_ids_is_refused(missing):
    tokenizer = tokenizer_with([token for token in vocabulary(2, 3) if token != missing])
    with pytest.raises(ValueError, match="was the model mid-trained on these IDs"):
        code_token_ids(tokenizer, 2)
    with pytest.raises(ValueError, match="level c"):
        code_token_ids(tokenizer_with(vocabulary(2, 3)), 3)
