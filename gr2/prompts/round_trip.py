"""An answer has to come back from its tokens as it was written, spaces included.

SentencePiece-style tokenizers put a space before every piece of text, so also before the quote that follows an ID;
decoded, the ID ends with a space.
"""

import json

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError


def keep_answers(tokenizer: PreTrainedTokenizerBase, catalogue: Catalogue) -> PreTrainedTokenizerBase:
    """The tokenizer, if it keeps an answer, or one of the same words that puts its space at the start of a text only.

    InputError if neither keeps an answer.
    """
    sids = list(catalogue.sid.values())[:3]
    answer = json.dumps({"explanation": f"As {sids[0]}, so.", "recommendations": sids})
    if keeps(tokenizer, answer):
        return tokenizer
    changed = with_space_at_start_only(tokenizer)
    name = tokenizer.name_or_path
    if changed is None or not keeps(changed, answer):
        text = tokenizer.decode(tokenizer.encode(answer, add_special_tokens=False))
        change = f"{answer[-60:]!r} comes back as {text[-60:]!r}"
        raise InputError(f"{name}: its tokenizer does not keep an answer: {change}; expected another base model")
    print(f"{name}: its tokenizer now puts a space at the start of a text only, not after every ID", flush=True)
    return changed


def keeps(tokenizer: PreTrainedTokenizerBase, answer: str) -> bool:
    ids = tokenizer.encode(answer, add_special_tokens=False)
    return tokenizer.decode(ids, skip_special_tokens=False) == answer


def with_space_at_start_only(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast | None:
    """A tokenizer of the same words; None if it is not a SentencePiece-style one.

    Llama 2 prepends the space in its normalizer, others in a Metaspace with prepend_scheme `always`.
    """
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    normalizer = json.dumps(state["normalizer"] or {})
    metaspace = [part for part in _steps(state["pre_tokenizer"], "pretokenizers") if part["type"] == "Metaspace"]
    if '"Prepend"' in normalizer:
        steps = _steps(state["normalizer"], "normalizers")
        kept = [step for step in steps if step["type"] not in ("Prepend", "Replace")]
        state["normalizer"] = {"type": "Sequence", "normalizers": kept} if kept else None
        state["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    elif metaspace:
        for part in metaspace:
            part["prepend_scheme"] = "first"
    else:
        return None
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        **{name: word for name, word in tokenizer.special_tokens_map.items() if name in names},
        chat_template=tokenizer.chat_template,
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        clean_up_tokenization_spaces=False,
    )


def _steps(step: dict | None, name: str) -> list[dict]:
    """The steps of a `Sequence`, or the one step."""
    if step is None:
        return []
    return step[name] if step["type"] == "Sequence" else [step]
