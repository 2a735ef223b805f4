from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.language_model.scratch import train_tokenizer
from gr2.prompts.history import fit_history

TOKENIZER = train_tokenizer(["item one item two"] * 3, 300)


def messages(slate: Slate) -> list[dict[str, str]]:
    return [{"role": "user", "content": " ".join([*slate.candidates, "|", *slate.history])}]


def count_tokens(slate: Slate) -> int:
    chat = TOKENIZER.apply_chat_template(messages(slate), add_generation_prompt=True, tokenize=False)
    return len(TOKENIZER.encode(chat, add_special_tokens=False))


def slate_of(history: list[str]) -> Slate:
    return Slate("s", history, ["item one", "item two"])


@given(st.lists(st.text("abcdefgh ", min_size=1, max_size=9), min_size=1, max_size=30), st.integers(40, 160))
def test_the_longest_latest_history_that_fits_is_kept(history, budget):
    (fitted,) = fit_history([slate_of(history)], messages, TOKENIZER, budget)
    kept = fitted.history
    assert count_tokens(fitted) <= budget and kept == history[len(history) - len(kept) :] and kept
    assert replace(fitted, history=history) == slate_of(history)
    if len(kept) < len(history):
        assert count_tokens(slate_of(history[-len(kept) - 1 :])) > budget


def test_the_number_shortened_is_printed_and_histories_that_fit_are_unchanged(capsys):
    short, long = slate_of(["a"]), slate_of(["some item"] * 40)
    fitted = fit_history([short, long, short], messages, TOKENIZER, 60)
    assert fitted[0] == fitted[2] == short and 0 < len(fitted[1].history) < 40
    assert "1 of 3 histories shortened to fit 60 prompt tokens" in capsys.readouterr().out


def test_a_prompt_that_fits_with_no_item_is_refused():
    with pytest.raises(InputError, match=r"--max_prompt_tokens 30: slate_id 's' has \d+ prompt tokens with a single"):
        fit_history([slate_of(["a", "an item with a very long title"])], messages, TOKENIZER, 30)
