"""Whether documents that are packed into one row stay apart: an architecture that mixes them would do so silently."""

import torch
from accelerate.utils import gather_object, send_to_device
from transformers import Trainer

from gr2.errors import InputError
from gr2.language_model.vocabulary import gather_weights

LENGTH = 8  # tokens of a document
TOLERANCE = 1e-3  # of the logits' norm: rounding leaves 1e-6, an untrained BLOOM that mixes documents 3e-3
NOT_READ = ("labels", "weights")


def refuse_mixing(trainer: Trainer, expected: str) -> None:
    """InputError where a document's logits behind another document are not those of the document alone.

    transformers tells packed documents apart by `position_ids`, but not in every architecture: not with ALiBi (BLOOM,
    MPT), nor in recurrent and linear-attention layers (Mamba, Qwen3-Next). Batches are made by the trainer's collator,
    midtrain's or sft's. Call it on every process, before `train` wraps the model. expected: what to do instead.
    """
    model = trainer.model.eval()
    first, second = list(range(LENGTH)), list(range(LENGTH, 2 * LENGTH))

    def read(*documents: list[int]) -> torch.Tensor:
        batch = trainer.data_collator([pack_row(documents)])
        inputs = {name: values for name, values in batch.items() if name not in NOT_READ}
        return model(**send_to_device(inputs, model.device), use_cache=False).logits[0]

    with torch.no_grad(), gather_weights(list(model.parameters())):
        behind, alone = read(first, second)[LENGTH : 2 * LENGTH], read(second)[:LENGTH]
    mixed = ((behind - alone).norm() > TOLERANCE * alone.norm()).item()
    if gather_object([mixed])[0]:  # FSDP may give the weights to the first process alone
        architecture = f"the model's architecture, {model.config.model_type}"
        raise InputError(f"{architecture}, lets documents that are packed into one row see each other: {expected}")


def pack_row(documents: tuple[list[int], ...]) -> dict[str, list]:
    """A training example with what the collators of midtrain and sft read."""
    ids = [token for document in documents for token in document]
    positions = [position for document in documents for position in range(len(document))]
    lengths = [len(document) for document in documents]
    weights = [1.0] * len(ids)
    return {"input_ids": ids, "labels": ids, "position_ids": positions, "seq_lengths": lengths, "weights": weights}
