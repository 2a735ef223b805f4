"""SFT's loss with a weight for each token: GR2's L = -lambda_r sum log P(reasoning) - lambda_o sum log P(ranking)
(2602.07774).

Ours: it is divided by the sum of the weights over the whole batch (all accumulation steps, all processes), as TRL
divides by the number of tokens. With equal weights it is TRL's own loss, and only the ratio of the two weights matters.
"""

from collections.abc import Callable
from typing import Any

import torch
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
from trl.trainer.utils import pad

from gr2.rates import MeterMixin
from gr2.training import NoCardMixin


class Collator(DataCollatorForLanguageModeling):
    """TRL's, which pads on the right or (`padding_free`) puts all examples in one row; `weights` likewise."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        weights = [torch.tensor(example["weights"]) for example in examples]
        if self.padding_free:
            weights = [torch.cat(weights)]
        padded = pad(weights, padding_value=0.0, padding_side="right", pad_to_multiple_of=self.pad_to_multiple_of)
        return super().torch_call(examples) | {"weights": padded}


class WeightedSFTTrainer(NoCardMixin, MeterMixin, SFTTrainer):
    """SFTTrainer on batches with `weights` [batch, length], 0 for tokens that are not learned."""

    def _get_num_items_in_batch(self, batch_samples: list[dict], device: torch.device) -> torch.Tensor:
        """The sum of the weights, by which TRL divides where it would divide by the number of tokens."""
        total = sum((batch["weights"][:, 1:].sum() for batch in batch_samples), torch.zeros(())).to(device)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            total = self.accelerator.gather(total).sum()
        return total

    def compute_loss(self, model: Callable, inputs: dict, return_outputs: bool = False, num_items_in_batch=None):
        """TRL's loss on weighted log-probabilities; its other figures (entropy, accuracy) stay unweighted.

        Padding is on the right, where no token sees it, so that the model needs no mask, which would keep PyTorch's
        attention from its fastest kernel. A mixture's balancing loss does, to count tokens.
        """
        weights = inputs.pop("weights")[:, 1:]  # the first token is never predicted

        def weighted_model(**given):
            if not self.aux_loss_enabled:
                given.pop("attention_mask", None)
            outputs = model(**given)
            outputs.log_probs = outputs.log_probs * weights
            return outputs

        return super().compute_loss(weighted_model, inputs, return_outputs, num_items_in_batch)
