import re
import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gr2.data.text import clean, defuse, neutralise

SPECIAL = [
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|sid_begin|>", "<s_a_57>", "<s_d_4>", "<s>", "</s>", "<unk>",
    "<pad>", "<bos>", "<eos>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<start_of_turn>",
    "<end_of_turn>", "<mask>", "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|user|>", "<|fim_prefix|>",
    "<extra_id_0>", "<unused12>", "<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜tool▁calls▁begin｜>",
    "[INST]", "[/INST]", "<<SYS>>", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[SYSTEM_PROMPT]",
    "[IMG_END]", "[CLS]", "[SEP]", "[MASK]", "[gMASK]", "[|user|]", "[|endofturn|]",
    "<0x0A>", "<2de>", "<|reserved_special_token_0|>", "<|START_OF_TURN_TOKEN|>", "<image>", "<unused0>",
    "＜s＞", "＜|im_end|＞",
    "[control_8]", "[unused1]", "[UNUSED_TOKEN_145]", "[@BOS@]", "[toxicity=0]", "[multimodal]", "[EOT]",
    "[start_header_id]",
    "[PAD151645]", "[MODEL_SETTINGS]", ">>TITLE<<", "|||EMAIL_ADDRESS|||", "]~b]", "]~!b[", "[e~[",
    "]<]image[>[", "<_start>",
]  # fmt: skip
pieces = st.sampled_from([*SPECIAL, "<", ">", "|", "</", "[", "]", "s", "|>", "<|", "INST", " ", "\n", "im_end", "/"])
pieced = st.lists(pieces, max_size=30).map("".join)


@pytest.mark.parametrize("token", SPECIAL)
def test_every_common_special_token_is_taken_apart(token):
    harmless = neutralise(f"before {token} after")
    assert token not in harmless
    assert harmless.startswith("before ") and harmless.endswith(" after")
    assert re.sub(r"[\W_]", "", harmless) == re.sub(r"[\W_]", "", f"before {token} after")  # it can still be read


@example("<s<s>>")
@example("<|<|im_end|>|>")
@example("[|[INST]|]")
@given(st.one_of(pieced, st.text(), st.tuples(pieced, st.text(), pieced).map("".join)))
def test_no_special_token_survives(text):
    harmless = neutralise(text)
    assert not [token for token in SPECIAL if token in harmless]
    assert not re.search(r"<\|[^<>\n]{1,20}\|>|</?[a-z][a-z_0-9]{0,20}>", harmless)
    assert neutralise(harmless) == harmless


@given(st.text(st.characters(exclude_characters="<>[]‹›＜＞﹤﹥［］|▁")))
def test_plain_text_is_left_alone(text):
    assert neutralise(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "I <3 you",
        "a < b > c",
        "5 < 6",
        "x[0]",
        "[Import] CD",
        "2 > 1",
        "<",
        "<>",
        "1<2>3",
        "",
        "[DVD] now",
        "4 >> 2 << 1",
        "a | b ||| c",
        "~[x]~",
        "<5>",
        "[2 pack]",
    ],
)
def test_text_that_only_looks_a_bit_like_it_is_left_alone(text):
    assert neutralise(text) == text


@pytest.mark.parametrize(("dirty", "expected"), [
    ("Beauty &amp; Care", "Beauty & Care"),
    ("Beauty &amp;amp; Care", "Beauty & Care"),
    ("&lt;|im_end|&gt;", "‹|im_end|›"),
    ("&amp;lt;/s&amp;gt;", "‹/s›"),
    ("caf\u0065\u0301", "café"),
    ("a\x00b\x07c", "a b c"),
    ("  two\t\nlines\u2028more \xa0 ", "two lines more"),
    ("zero\u200bwidth\ufeff", "zerowidth"),
    ("\u202eevil\u202c left", "evil left"),
    ("soft\xadhyphen", "softhyphen"),
    ("<|im\u200b_end|>", "‹|im_end|›"),
    ("\u2066<s\u2069>", "‹s›"),
    ("<b>Puzzle</b>", "Puzzle"),
    ("&lt;b&gt;Puzzle&lt;/b&gt;", "Puzzle"),
    ("one<br>two<BR />three", "one two three"),
    ("H<sub>2</sub>O", "H2O"),
    ('<p class="x" id=y>Clean.</p><p>Fast.</p>', "Clean. Fast."),
    ('<a href="http://a.b/?c=1&amp;d=2">here</a>', "here"),
    ("<style>.a{b:c}</style>Soap<script>f(1 < 2)</script><!-- old -->", "Soap"),
    ("<|im_<b>end|>", "‹|im_end|›"),
    ("<<b>b>Soap", "Soap"),
    ("a < b and c > d", "a < b and c > d"),
    ("a <b or c> d", "a ‹b or c› d"),
    ("<book> <s>", "‹book› ‹s›"),
    ("<|im▁end|>", "‹|im_end|›"),
    ("private \ue000 use", "private use"),
    ("Amélie (2001) 天気の子 🎬", "Amélie (2001) 天気の子 🎬"),
    ("", ""),
])  # fmt: skip
def test_clean_by_example(dirty, expected):
    assert clean(dirty) == expected


@given(st.text())
def test_cleaned_text_is_one_harmless_line(text):
    cleaned = clean(text)
    assert cleaned == " ".join(cleaned.split())
    assert not {unicodedata.category(char) for char in cleaned} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert neutralise(cleaned) == cleaned


@given(
    st.lists(
        st.sampled_from(["<", "&lt;", "&amp;lt;", "\u200b", "|", "im_end", "s", "/", ">", "&gt;", "\u202e", "\x00"])
    )
)
def test_nothing_invisible_or_escaped_hides_a_token(parts):
    assert not re.search(r"<\|?/?[a-z_]+\|?>", clean("".join(parts)))


@pytest.mark.parametrize(
    "text", ["<" * 10_000 + "b>" * 10_000, "<b a=a" * 10_000, "<script>" * 10_000, "<!--" * 10_000]
)
def test_a_long_dirty_text_is_cleaned_in_seconds(text):
    started = time.perf_counter()
    clean(text)
    assert time.perf_counter() - started < 8


ADDED = frozenset({"eng_Latn", "PI:EMAIL", "<s>", "<|im_end|>", "ab", "bb", "§", "\n\n", "  "})


@pytest.mark.parametrize(("text", "expected"), [
    ("in eng_Latn or <s>", "in e·ng_Latn or ‹s›"),
    ("write to PI:EMAIL", "write to P·I:EMAIL"),
    ("two  spaces\n\nand lines", "two  spaces\n\nand lines"),
    ("a§b", "a·b"),
    ("nothing to do", "nothing to do"),
])  # fmt: skip
def test_the_tokens_of_a_loaded_tokenizer_are_taken_apart(text, expected):
    assert defuse(text, ADDED) == expected


@given(
    st.lists(st.sampled_from([*"ab§·<>s|", "eng_", "Latn", "PI:", "EMAIL", "<|im_end|>", " "]), max_size=30).map(
        "".join
    )
)
def test_no_added_token_survives(text):
    harmless = defuse(text, ADDED)
    assert not [token for token in ADDED if token.strip() and token in harmless]
    assert defuse(harmless, ADDED) == harmless


def test_without_added_tokens_it_neutralises():
    assert defuse("<s> ab", frozenset()) == "‹s› ab"


def test_a_tokenizer_finds_no_special_token_in_a_defused_text():
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in (*SPECIAL, "eng_Latn", "@@x")])
    added = frozenset(token.content for token in tokenizer.get_added_tokens_decoder().values())
    for token in added:
        assert tokenizer.encode(f"a {token} b").ids, token
        assert not tokenizer.encode(defuse(f"a {token} b", added)).ids, token
