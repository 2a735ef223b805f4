import pytest

from gr2.files.sid_tokens import SID, code_token, sid_string, vocabulary


def test_strings_are_those_of_the_paper():
    assert sid_string([57, 7, 23, 4]) == "<|sid_begin|><s_a_57><s_b_7><s_c_23><s_d_4><|sid_end|>"
    assert code_token(1, 255) == "<s_b_255>"


def test_a_vocabulary_holds_every_token_once():
    words = vocabulary(levels=3, codes=5)
    assert len(words) == len(set(words)) == 2 + 3 * 5
    assert words[:2] == ["<|sid_begin|>", "<|sid_end|>"]
    for codes in ([0, 0, 0], [4, 4, 4], [1, 3, 2]):
        parts = sid_string(codes).replace(">", "> ").split()
        assert set(parts) <= set(words) and len(parts) == 5


def test_ids_are_found_in_text():
    first, second = sid_string([1, 2, 3]), sid_string([10, 0, 7])
    assert SID.findall(f'["{first}", "{second}"]') == ["<s_a_1><s_b_2><s_c_3>", "<s_a_10><s_b_0><s_c_7>"]
    assert SID.search(first + second).group() == first  # the first end closes the first ID


@pytest.mark.parametrize("text", [
    "<|sid_begin|><|sid_end|>", "<|sid_begin|><s_a_1>", "<s_a_1><|sid_end|>", "<|sid_begin|> <s_a_1><|sid_end|>",
    "<|sid_begin|><s_A_1><|sid_end|>", "<|sid_begin|><s_a_-1><|sid_end|>", "‹|sid_begin|›<s_a_1>‹|sid_end|›",
])  # fmt: skip
def test_what_is_no_id_is_not_found(text):
    assert SID.search(text) is None
