"""A user's history as the mid-trained model reads it: the one format for training it and for searching with it."""

from transformers import PreTrainedTokenizerBase

from gr2.errors import InputError
from gr2.files.sid_tokens import BEGIN, END, LETTERS, code_token

HISTORY = "History:"


def history_text(sids: list[str]) -> str:
    return HISTORY + "".join(sids)


def next_item_prompt(sids: list[str]) -> str:
    """History plus an opened ID: the next tokens are the codes of the next item."""
    return history_text(sids) + BEGIN


def code_token_ids(tokenizer: PreTrainedTokenizerBase, levels: int) -> list[list[int]]:
    """Token ids by level and code, as far as the tokenizer has them; InputError if it lacks the IDs' tokens."""
    vocabulary = tokenizer.get_vocab()
    table = []
    for level in range(levels):
        codes = 0
        while code_token(level, codes) in vocabulary:
            codes += 1
        if codes == 0 or BEGIN not in vocabulary or END not in vocabulary:
            raise InputError(
                f"the tokenizer has no tokens for level {LETTERS[level]}; was the model mid-trained on these IDs?"
            )
        table.append([vocabulary[code_token(level, code)] for code in range(codes)])
    return table
