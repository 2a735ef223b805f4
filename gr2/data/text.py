"""Item text is untrusted: cleaned when it enters, made harmless before it meets a tokenizer."""

import html
import re
import unicodedata

# `<|im_end|>`, `<s_a_12>`, `</s>`, `<think>`, `<start_of_turn>`, `<unk>`; DeepSeek's `<｜User｜>` with its wide bars;
# and in square brackets Mistral's, BERT's and GLM's words, and EXAONE's `[|user|]`.
IN_BRACKETS = (
    "INST", "SYS", "SYSTEM_PROMPT", "AVAILABLE_TOOLS", "TOOL_CALLS", "TOOL_RESULTS", "TOOL_CONTENT", "CALL_ID", "ARGS",
    "IMG", "IMG_BREAK", "IMG_END", "AUDIO", "BEGIN_AUDIO", "THINK", "PREFIX", "MIDDLE", "SUFFIX",
    "CLS", "SEP", "MASK", "gMASK", "sMASK", "PAD", "UNK", "BOS", "EOS",
)  # fmt: skip
TOKEN_LOOK_ALIKE = re.compile(
    rf"<(/?[A-Za-z|｜][^<>\n]{{0,60}})>|\[(/?(?:{'|'.join(IN_BRACKETS)})|\|[^\[\]\n]{{0,60}}\|)\]"
)


def clean(text: str) -> str:
    """Resolves HTML entities, drops control characters, folds white space, neutralises special-token look-alikes."""
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)))
    text = "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
    text = "".join(char for char in text if unicodedata.category(char) not in ("Cf", "Cs", "Co", "Cn"))
    return neutralise(" ".join(text.split()))


def neutralise(text: str) -> str:
    """`<|im_end|>` -> `‹|im_end|›`: still readable, but no tokenizer takes it for a special token. Idempotent."""
    previous = None
    while previous != text:  # removing one pair can close another: `<<s>s>`
        previous = text
        text = TOKEN_LOOK_ALIKE.sub(lambda match: f"‹{match[1] or match[2]}›", text)
    return text
