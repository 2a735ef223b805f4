"""A user's history as the mid-trained model reads it: one format for training and for searching."""

from transformers import PreTrainedTokenizerBase

from gr2.errors import InputError
from gr2.files.sid_tokens import BEGIN, END, LETTERS, code_token

HISTORY = "History:"


def next_item_prompt(sids: list[str]) -> str:
    """History plus an opened ID: the next tokens are the codes of the next item."""
    return HISTORY + "".join(sids) + BEGIN


def code_token_ids(tokenizer: PreTrainedTokenizerBase, levels: int) -> list[list[int]]:
    """Token ids by level and code, for all codes that the tokenizer has; InputError if a level has none."""
    vocabulary = tokenizer.get_vocab()
    table = []
    for level in range(levels):
        codes = 0
        while code_token(level, codes) in vocabulary:
            codes += 1
        if codes == 0 or BEGIN not in vocabulary or END not in vocabulary:
            missing = f"tokens for level {LETTERS[level]}"
            raise InputError(f"the tokenizer has no {missing}; was the model mid-trained on these IDs?")
        table.append([vocabulary[code_token(level, code)] for code in range(codes)])
    return table
