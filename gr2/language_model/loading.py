"""Loads models and tokenizers: plain Hugging Face folders, safetensors, no remote code."""

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gr2.errors import InputError
from gr2.language_model.chat import answer_at_once
from gr2.packaged_models import resolve


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """Pads on the left (decoder-only models generate on the right), with the end-of-text token if it has no other.

    Its chat template answers at once, see gr2/language_model/chat.py.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(resolve(name_or_path), padding_side="left")
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name_or_path}: expected a model folder or a model on the hub ({reason})") from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    answer_at_once(tokenizer)
    return tokenizer


def load_model(name_or_path: str, dtype: str = "float32") -> PreTrainedModel:
    """A causal language model; `dtype` as in transformers ("auto": as saved)."""
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(resolve(name_or_path), dtype=dtype)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{name_or_path}: expected a causal language model that loads ({reason})") from None
