"""An answer has to come back from its tokens as it was written, blanks included.

SentencePiece-style tokenizers set a blank before every piece of text, so also before the quote that follows an ID; decoded,
the ID ends with a blank.
"""

import json

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError


def keep_answers(tokenizer: PreTrainedTokenizerBase, catalogue: Catalogue) -> PreTrainedTokenizerBase:
    """The tokenizer, or one of the same words that sets its blank at the start of a text alone; InputError if neither keeps
    an answer.
    """
    answer = json.dumps({"explanation": f"As {_sids(catalogue)[0]}, so.", "recommendations": _sids(catalogue)})
    if keeps(tokenizer, answer):
        return tokenizer
    changed = blank_at_the_start_alone(tokenizer)
    if changed is None or not keeps(changed, answer):
        found = tokenizer.decode(tokenizer.encode(answer, add_special_tokens=False))
        raise InputError(f"{tokenizer.name_or_path}: its tokenizer does not keep an answer: {answer[-60:]!r} comes back as "
                         f"{found[-60:]!r}; expected another base model")  # fmt: skip
    print(
        f"{tokenizer.name_or_path}: its tokenizer now sets a blank at the start of a text alone, not after every ID",
        flush=True,
    )
    return changed


def _sids(catalogue: Catalogue) -> list[str]:
    return list(catalogue.sid.values())[:3]


def keeps(tokenizer: PreTrainedTokenizerBase, answer: str) -> bool:
    ids = tokenizer.encode(answer, add_special_tokens=False)
    return tokenizer.decode(ids, skip_special_tokens=False) == answer


def blank_at_the_start_alone(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast | None:
    """A tokenizer of the same words; None where it is no SentencePiece-style one.

    Llama 2 prepends the blank in its normalizer, others in a Metaspace with prepend_scheme `always`.
    """
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    normalizer = json.dumps(state["normalizer"] or {})
    metaspace = [part for part in _parts(state["pre_tokenizer"], "pretokenizers") if part["type"] == "Metaspace"]
    if '"Prepend"' in normalizer:
        steps = _parts(state["normalizer"], "normalizers")
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


def _parts(step: dict | None, name: str) -> list[dict]:
    """The steps of a `Sequence`, or the one step."""
    if step is None:
        return []
    return step[name] if step["type"] == "Sequence" else [step]
