"""Loads and saves models and tokenizers: plain Hugging Face folders, safetensors, no remote code."""

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gr2.errors import InputError
from gr2.files.artifacts import write_model_whole


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """Left padding (decoder-only models generate on the right); the end-of-text token pads where none is set.

    Its chat template answers at once, see gr2/language_model/chat.py.
    """
    from transformers import AutoTokenizer

    from gr2.language_model.chat import answer_at_once
    from gr2.packaged import resolve

    try:
        tokenizer = AutoTokenizer.from_pretrained(resolve(name_or_path), padding_side="left")
    except (OSError, ValueError) as error:
        raise InputError(f"model_name_or_path {name_or_path}: neither a model folder nor a model on the hub "
                         f"({str(error).splitlines()[0]})") from None  # fmt: skip
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    answer_at_once(tokenizer)
    return tokenizer


def load_model(name_or_path: str, dtype: str = "float32") -> PreTrainedModel:
    """A causal language model; `dtype` as in transformers ("auto": as saved)."""
    from transformers import AutoModelForCausalLM

    from gr2.packaged import resolve

    try:
        return AutoModelForCausalLM.from_pretrained(resolve(name_or_path), dtype=dtype)
    except (OSError, ValueError) as error:
        raise InputError(f"model_name_or_path {name_or_path}: no loadable causal language model "
                         f"({str(error).splitlines()[0]})") from None  # fmt: skip


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Writes a whole checkpoint that loads with AutoModelForCausalLM and in vLLM; nothing is sampled by default."""
    from transformers import GenerationConfig

    generation = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    with write_model_whole(folder) as aside:
        model.generation_config = generation
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
