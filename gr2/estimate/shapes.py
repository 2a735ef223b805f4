"""What a language model looks like, without loading it: from its config.json, from a recipe's options, or as published.

Dense decoders with grouped-query attention and SwiGLU: Qwen3, Qwen2, Llama (SmolLM2), Mistral.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from gr2.errors import InputError

KINDS = ("qwen3", "qwen2", "llama", "mistral")


@dataclass(frozen=True)
class Shape:
    hidden: int
    layers: int
    heads: int  # of queries
    groups: int  # heads of keys and of values
    head: int  # width of a head
    inner: int  # width of the MLP
    vocabulary: int  # rows of the embeddings
    tied: bool = True  # input and output share their embeddings
    kind: str = "llama"

    @property
    def queries(self) -> int:
        return self.heads * self.head

    @property
    def keys(self) -> int:
        return self.groups * self.head

    def with_ids(self, levels: int, codes: int) -> "Shape":
        """With rows for the tokens of semantic IDs, padded to a multiple of 64 (gr2/language_model/vocabulary.py)."""
        return replace(self, vocabulary=-(-(self.vocabulary + 2 + levels * codes) // 64) * 64)


def qwen3(hidden: int, layers: int, heads: int, inner: int, tied: bool) -> Shape:
    return Shape(hidden, layers, heads, 8, 128, inner, 151_936, tied, "qwen3")


# config.json on the hub; tests hold their parameters against those that the model cards state.
PUBLISHED = {
    "qwen/qwen3-0.6b": qwen3(1024, 28, 16, 3072, True),
    "qwen/qwen3-1.7b": qwen3(2048, 28, 16, 6144, True),
    "qwen/qwen3-4b": qwen3(2560, 36, 32, 9728, True),
    "qwen/qwen3-8b": qwen3(4096, 36, 32, 12_288, False),
    "qwen/qwen3-14b": qwen3(5120, 40, 40, 17_408, False),
    "qwen/qwen3-32b": qwen3(5120, 64, 64, 25_600, False),
    "huggingfacetb/smollm2-135m": Shape(576, 30, 9, 3, 64, 1536, 49_152),
    "huggingfacetb/smollm2-360m": Shape(960, 32, 15, 5, 64, 2560, 49_152),
    "huggingfacetb/smollm2-1.7b": Shape(2048, 24, 32, 32, 64, 8192, 49_152),
}
PACKAGED = {"packaged:smollm2-135m-instruct": PUBLISHED["huggingfacetb/smollm2-135m"]}


def find_shape(name: str) -> Shape:
    """Of a `packaged:` model, a folder with a config.json, or a published model, its -Base and -Instruct too."""
    if name in PACKAGED:
        return PACKAGED[name]
    if (Path(name) / "config.json").is_file():
        return read_shape(Path(name) / "config.json")
    published = name.lower().removesuffix("-instruct").removesuffix("-base")
    if published not in PUBLISHED:
        known = f"a folder with a config.json, {', '.join(PACKAGED)}, or one of {', '.join(PUBLISHED)}"
        raise InputError(f"{name}: its shape is not known here: expected {known}; put its config.json into a folder")
    return PUBLISHED[published]


def read_shape(path: Path) -> Shape:
    """InputError for a model whose costs these formulas do not describe."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{path}: expected a model's config.json") from None
    if config.get("model_type") not in KINDS:
        raise InputError(f"{path}: model_type {config.get('model_type')}: expected one of {', '.join(KINDS)}")
    heads = config["num_attention_heads"]
    return Shape(
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        groups=config.get("num_key_value_heads") or heads,
        head=config.get("head_dim") or config["hidden_size"] // heads,
        inner=config["intermediate_size"],
        vocabulary=config["vocab_size"],
        tied=config.get("tie_word_embeddings", False),
        kind=config["model_type"],
    )


def scratch_shape(hidden: int, layers: int, heads: int, vocabulary: int) -> Shape:
    """As gr2/language_model/scratch.py makes it."""
    return Shape(hidden, layers, heads, max(1, heads // 2), hidden // heads, 2 * hidden, vocabulary, True, "qwen3")
