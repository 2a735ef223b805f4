"""Item text is untrusted: it is cleaned when it is read, and made harmless before it is tokenized."""

import functools
import html
import re
import unicodedata

# What models of all families read as special tokens, the part to keep in the first group that matched:
# `<|im_end|>`, `<s_a_12>`, `</s>`, `<think>`, `<start_of_turn>`, `<0x0A>` and `<2de>`, with DeepSeek's wide bars or in
# the wide brackets that some normalizers narrow; `[control_8]`, `[UNUSED_TOKEN_3]`, `[|user|]`; words in square
# brackets of Mistral, BERT, GLM, Gemma and Kimi; Falcon's `>>TITLE<<`, OLMo's `|||EMAIL_ADDRESS|||` and MiniMax's
# `]~b]`, `]<]image[>[`.
WORDS = (
    r"INST|SYS|ARGS|IMG|AUDIO|THINK|PREFIX|MIDDLE|SUFFIX|CLS|SEP|MASK|gMASK|sMASK|PAD|UNK|BOS|EOS|EOT|EOD|EOP|SOP|"
    r"multimodal|unused\d+|PAD\d+|toxicity=\d|@[A-Z]+@"
)
TOKEN_LOOK_ALIKE = re.compile(
    r"[<＜﹤](/?(?:[^\W\d]|[|｜@$])[^<>＜＞﹤﹥\n]{0,60}|0x[0-9A-Fa-f]{2}|2[A-Za-z_]{2,10})[>＞﹥]"
    rf"|[\[［](/?(?:{WORDS}|[A-Za-z]{{1,40}}(?:_[A-Za-z0-9]{{1,40}})+)|[|｜][^\[\]［］\n]{{0,60}}[|｜])[\]］]"
    r"|>>([A-Z][A-Z_0-9]{1,40})<<"
    r"|\|\|\|([A-Z][A-Z_]{1,40})\|\|\|"
    r"|[\[\]]([!~a-z]{0,3}~[!~a-z]{0,3})[\[\]]"
    r"|\]<\]([a-z][a-z_ ]{0,40})\[>\["
)
ATTRIBUTES = r"""(?:\s+[\w:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+))*\s*/?"""
# Not `<s>`, `<image>`, `<audio>` or `<video>`, which are tokens; those are made harmless and can still be read.
INLINE = re.compile(
    rf"</?(?:a|abbr|b|big|cite|code|del|em|font|i|ins|kbd|nobr|small|span|strike|strong|sub|sup|tt|u|wbr){ATTRIBUTES}>",
    re.IGNORECASE,
)
BLOCK = re.compile(
    r"<(script|style)\b[^<>]{0,100}>.{0,1000}?</\1\s*>|<!--.{0,1000}?-->|</?(?:address|article|blockquote|body|br|"
    r"caption|center|dd|div|dl|dt|figure|footer|form|h[1-6]|head|header|hr|html|iframe|img|li|ol|p|pre|section|table|"
    rf"tbody|td|th|thead|tr|ul){ATTRIBUTES}>",
    re.IGNORECASE | re.DOTALL,
)
MARKS = "·‧∙•"


def clean(text: str) -> str:
    """Resolves HTML entities, drops HTML tags and control characters, folds white space, and neutralises the rest."""
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)))
    text = "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
    text = "".join(char for char in text if unicodedata.category(char) not in ("Cf", "Cs", "Co", "Cn"))
    return neutralise(" ".join(drop_tags(text).split()))


def drop_tags(text: str) -> str:
    """`<b>Puzzle</b>` -> `Puzzle`, `one<br>two` -> `one two`; `a < b` and `<b or c>`, which are no tags, stay."""
    for _ in range(5):  # dropping one tag can close another: `<<b>b>`
        text = INLINE.sub("", BLOCK.sub(" ", text))
    return text


def neutralise(text: str) -> str:
    """`<|im_end|>` -> `‹|im_end|›`: still readable, but no tokenizer reads it as a special token. Idempotent.

    `▁`, which SentencePiece reads as a space, becomes `_`.
    """
    text = text.replace("▁", "_")
    previous = None
    while previous != text:  # removing one pair can close another: `<<s>s>`
        previous = text
        text = TOKEN_LOOK_ALIKE.sub(lambda match: f"‹{next(filter(None, match.groups()))}›", text)
    return text


def defuse(text: str, tokens: frozenset[str]) -> str:
    """`neutralise`, and then none of `tokens` stands in the text: `eng_Latn` -> `e·ng_Latn`. Idempotent.

    tokens: those added to the vocabulary of a loaded tokenizer, `frozenset(tokenizer.get_added_vocab())`, whatever they
    look like. White space is left alone.
    """
    pattern, mark = compile_others(tokens)
    previous = None
    while previous != text:
        previous = text
        text = neutralise(text)
        text = pattern.sub(lambda match: match[0][0] + mark + match[0][1:] if len(match[0]) > 1 else "", text)
    return text


@functools.lru_cache(maxsize=8)
def compile_others(tokens: frozenset[str]) -> tuple[re.Pattern, str]:
    """Matches the tokens that `neutralise` does not see, and a character that is in none of them."""
    others = sorted(token for token in tokens if token.strip() and neutralise(token) == token)
    mark = next(mark for mark in MARKS if not any(mark in token for token in others))
    return re.compile("|".join(map(re.escape, others)) or r"(?!)"), mark
