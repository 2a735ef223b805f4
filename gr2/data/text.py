"""Item text is untrusted: cleaned when it enters, made harmless before it meets a tokenizer."""

import html
import re
import unicodedata

# `<|im_end|>`, `<s_a_12>`, `</s>`, `<think>`, `<start_of_turn>`, `<unk>`, and Mistral's `[INST]`.
TOKEN_LOOK_ALIKE = re.compile(r"<(/?[A-Za-z|][^<>\n]{0,60})>|\[(/?(?:INST|SYS|TOOL_CALLS|AVAILABLE_TOOLS))\]")


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
