"""SFT's loss with a weight for each token: GR2's L = -lambda_r sum log P(reasoning) - lambda_o sum log P(ranking) (2602.07774).

Ours: it is divided by the sum of the weights over the whole batch (all accumulation steps, all processes), as TRL divides
by the number of tokens. With equal weights it is TRL's own loss, and only the ratio of the two weights matters.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
from trl.trainer.utils import pad

from gr2.language_model.chat import encode_turn
from gr2.prompts.answer import reasoning_span
from gr2.training import WithoutCard

IGNORED = -100


def encode(
    messages: list[dict[str, str]], answer: str, tokenizer: PreTrainedTokenizerBase, reasoning: float, ranking: float
) -> dict[str, list]:
    """A chat and its answer as `input_ids`, `labels` and `weights`, one entry a token; prompt tokens are not learned.

    A token has the weight of the reasoning if all of its characters are the explanation's text. Every other token of the
    assistant's turn, JSON's marks and the end of the turn too, has that of the ranking: without them no ranking can be
    read. An answer without a trace is all ranking.
    """
    prompt, ids, spans = encode_turn(tokenizer, messages, answer)
    start, end = reasoning_span(answer)
    weights = [reasoning if start <= first and last <= end else ranking for first, last in spans]
    return {
        "input_ids": prompt + ids,
        "labels": [IGNORED] * len(prompt) + ids,
        "weights": [0.0] * len(prompt) + weights,
    }


class Collator(DataCollatorForLanguageModeling):
    """TRL's, which pads on the right or (`padding_free`) lays all examples into one row, and `weights` laid out likewise."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        weights = [torch.tensor(example["weights"]) for example in examples]
        if self.padding_free:
            weights = [torch.cat(weights)]
        padded = pad(weights, padding_value=0.0, padding_side="right", pad_to_multiple_of=self.pad_to_multiple_of)
        return super().torch_call(examples) | {"weights": padded}


class WeightedSFTTrainer(WithoutCard, SFTTrainer):
    """SFTTrainer on batches with `weights` [batch, length], 0 where a token is not learned."""

    def _get_num_items_in_batch(self, batch_samples: list[dict], device: torch.device) -> torch.Tensor:
        """The sum of the weights, by which TRL divides where it would divide by the number of tokens."""
        total = sum((batch["weights"][:, 1:].sum() for batch in batch_samples), torch.zeros(())).to(device)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            total = self.accelerator.gather(total).sum()
        return total

    def compute_loss(self, model: Callable, inputs: dict, return_outputs: bool = False, num_items_in_batch=None):
        """TRL's loss on weighted log-probabilities; its other figures (entropy, accuracy) stay unweighted."""
        weights = inputs.pop("weights")[:, 1:]  # the first token is never predicted

        def weighted(**given):
            outputs = model(**given)
            outputs.log_probs = outputs.log_probs * weights
            return outputs

        return super().compute_loss(weighted, inputs, return_outputs, num_items_in_batch)
