"""A small language model made from the catalogue alone: Qwen3 architecture, byte-level BPE trained on item text.

For demos, tests and ablations: it needs no downloaded weights, and loads wherever a Qwen3 model does.
"""

from collections.abc import Iterable

from transformers import PreTrainedModel, PreTrainedTokenizerBase

END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
LONGEST_TOKEN = 32  # bytes
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer (it can write any text) with the ChatML template; deterministic.

    LONGEST_TOKEN: a title of 3,000 times the same letter would otherwise make tokens that no grammar can hold.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        max_token_length=LONGEST_TOKEN,
        special_tokens=[END_OF_TEXT, START, END],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END_OF_TEXT,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def small_model(
    tokenizer: PreTrainedTokenizerBase,
    hidden_size: int,
    layers: int,
    heads: int,
    context: int,
    seed: int,
    spread: float = 0.1,
    local_window: int | None = None,
) -> PreTrainedModel:
    """A freshly initialised Qwen3 model with tied embeddings; `heads` query heads, half as many key-value heads.

    Embeddings start with a standard deviation of 0.1 and all other weights with `spread`; transformers has 0.02 for
    all. With 0.1 a small model learns histories sooner, with 0.03 to copy IDs from its prompt
    (docs/results/rewards.md).

    local_window: all layers but the last see only the latest N tokens. What a prompt says of a candidate stands beside
    its ID, so these layers pick it up from nearby tokens and need not learn where to look.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        head_dim=hidden_size // heads,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        initializer_range=spread,
        use_cache=True,
        **windows(layers, local_window),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config)
    model.get_input_embeddings().weight.data.mul_(0.1 / spread)
    return model


def windows(layers: int, size: int | None) -> dict:
    """Qwen3's options for a window in all layers but the last; with them vLLM refuses the model, as it should."""
    if size is None:
        return {}
    kinds = ["sliding_attention"] * (layers - 1) + ["full_attention"]
    return {"use_sliding_window": True, "sliding_window": size, "max_window_layers": 0, "layer_types": kinds}
