"""The token strings of semantic IDs: `<|sid_begin|><s_a_57><s_b_7><s_c_23><s_d_4><|sid_end|>` (GR2, 2602.07774)."""

import re
from collections.abc import Sequence

BEGIN, END = "<|sid_begin|>", "<|sid_end|>"
SID = re.compile(re.escape(BEGIN) + r"((?:<s_[a-z]_\d+>)+)" + re.escape(END))
TOKEN = re.compile(rf"({re.escape(BEGIN)}|<s_[a-z]_\d+>|{re.escape(END)})")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MOST_LEVELS = len(LETTERS)  # a level's tokens are named by its letter


def code_token(level: int, code: int) -> str:
    return f"<s_{LETTERS[level]}_{code}>"


def sid_string(codes: Sequence[int]) -> str:
    return BEGIN + "".join(code_token(level, code) for level, code in enumerate(codes)) + END


def vocabulary(levels: int, codes: int) -> list[str]:
    """Every token that IDs of this shape need: begin, end, then level by level."""
    return [BEGIN, END, *(code_token(level, code) for level in range(levels) for code in range(codes))]
