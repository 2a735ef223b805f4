"""What a training changes: everything, only the rows of the IDs' tokens (a first phase), or LoRA and those rows."""

import torch
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from gr2.errors import InputError
from gr2.files.sid_tokens import TOKEN
from gr2.language_model.vocabulary import embedding_layers

TARGETS = "all-linear"  # every linear layer but the output's


def id_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The token ids of all semantic-ID tokens, ascending; InputError if the tokenizer has none."""
    ids = sorted(index for token, index in tokenizer.get_vocab().items() if TOKEN.fullmatch(token))
    if not ids:
        raise InputError("the tokenizer has no tokens for semantic IDs: expected a model after `gr2 midtrain`")
    return ids


def train_rows_only(model: PreTrainedModel, token_ids: list[int]) -> "ShardedRowsOnly":
    """Freezes all but the rows of `token_ids` in the input and output embeddings; returns a callback for the Trainer.

    Frozen rows get gradient 0, which Adam without weight decay does not move.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    mask = torch.zeros(model.get_input_embeddings().num_embeddings, 1)
    mask[token_ids] = 1
    for layer in embedding_layers(model):
        layer.weight.requires_grad_(True)
        layer.weight.register_hook(lambda gradient: gradient * mask.to(gradient))
    return ShardedRowsOnly(mask)


class ShardedRowsOnly(TrainerCallback):
    """The same under FSDP2, whose parameters take the place of the model's and do not have their hooks.

    mask: [rows of the embeddings, 1].
    """

    def __init__(self, mask: torch.Tensor):
        self.mask = mask

    def on_train_begin(self, args, state, control, model: PreTrainedModel, **_) -> None:
        for layer in embedding_layers(model):
            if isinstance(layer.weight, DTensor):
                layer.weight.register_post_accumulate_grad_hook(self.keep)

    def keep(self, weight: DTensor) -> None:
        mask = self.mask.to(weight.device)
        weight.grad.mul_(distribute_tensor(mask, weight.device_mesh, weight.placements, src_data_rank=None))


def add_lora(model: PreTrainedModel, token_ids: list[int], rank: int, alpha: int):
    """A PEFT model: low-rank updates of every linear layer, and the rows of `token_ids`."""
    from peft import LoraConfig, get_peft_model

    names = {module: name for name, module in model.named_modules()}
    rows = {names[layer].rpartition(".")[2]: token_ids for layer in embedding_layers(model)}
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=TARGETS, trainable_token_indices=rows, task_type="CAUSAL_LM"
    )
    adapted = get_peft_model(model, config)
    head = adapted.get_output_embeddings()
    head.bias = head.original_module.bias  # TRL's loss reads it, and PEFT's wrapper hands on the weight alone
    return adapted
