"""SFT's loss where a teacher's probabilities are given: a list is learned by its choices, what precedes it by tokens.

A choice's loss is the cross-entropy of the teacher's shares and the model's probabilities among the tokens that the
slate admits, as `gr2 rerank --order choices` takes them; what the slate forces is not learned. Logits are computed at
these places alone. A mixture's balancing loss is added, as TRL adds it.
"""

from typing import Any

import torch
from torch import Tensor

from gr2.choices.reading import logits_at
from gr2.language_model.chat import IGNORED
from gr2.sft.weighting import Collator, WeightedSFTTrainer


class ChoiceCollator(Collator):
    """The rows' choices as one table over the batch: `row`, `place`, `weight` [choices], `among`, `shares` [choices,
    most ways], 0 where a choice has fewer."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        rows = [(row, lesson) for row, example in enumerate(examples) for lesson in example["lessons"]]
        most = max(len(lesson["among"]) for _, lesson in rows)
        return batch | {
            "row": torch.tensor([row for row, _ in rows]),
            "place": torch.tensor([lesson["place"] for _, lesson in rows]),
            "weight": torch.tensor([lesson["weight"] for _, lesson in rows]),
            "among": torch.tensor([lesson["among"] + [0] * (most - len(lesson["among"])) for _, lesson in rows]),
            "shares": torch.tensor([lesson["shares"] + [0.0] * (most - len(lesson["shares"])) for _, lesson in rows]),
        }


class ChoiceTrainer(WeightedSFTTrainer):
    """SFTTrainer on `ChoiceCollator`'s batches; logs how often the model's first way is the teacher's."""

    def _get_num_items_in_batch(self, batch_samples: list[dict], device: torch.device) -> Tensor:
        total = sum((batch["weights"].sum() + batch["weight"].sum() for batch in batch_samples), torch.zeros(()))
        total = total.to(device)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            total = self.accelerator.gather(total).sum()
        return total

    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, num_items_in_batch=None) -> Tensor:
        self.meter.count(inputs)
        mask = (inputs["labels"] != IGNORED) & (inputs["weights"] > 0)
        row, column = mask.nonzero(as_tuple=True)
        rows, places = torch.cat([row, inputs["row"]]), torch.cat([column, inputs["place"]]) - 1
        given = {"input_ids": inputs["input_ids"]}  # padding is on the right: no mask
        if self.aux_loss_enabled:  # it counts the tokens of a mask
            given |= {"attention_mask": inputs["attention_mask"], "output_router_logits": True}
        with logits_at(self.accelerator.unwrap_model(model), rows, places):
            outputs = model(**given, use_cache=False)
        token_logits, chosen = outputs.logits.split([len(row), len(inputs["row"])])
        tokens = torch.nn.functional.cross_entropy(token_logits.float(), inputs["labels"][mask], reduction="none")
        losses = choice_losses(chosen, inputs["among"], inputs["shares"])
        total = (tokens * inputs["weights"][mask]).sum() + (losses * inputs["weight"]).sum()
        weight = inputs["weights"][mask].sum() + inputs["weight"].sum()
        self.log_agreement(chosen, inputs)
        processes = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        loss = total / weight if num_items_in_batch is None else total / num_items_in_batch * processes
        return loss + self.balance(outputs.aux_loss, num_items_in_batch) if self.aux_loss_enabled else loss

    def balance(self, aux_loss: Tensor, num_items_in_batch: Tensor | None) -> Tensor:
        """A mixture's balancing loss, weighted and averaged over the accumulation steps; logs it."""
        self._metrics["train"]["aux_loss"].append(self.accelerator.gather(aux_loss.detach()).mean().item())
        steps = 1 if num_items_in_batch is None else self.current_gradient_accumulation_steps
        return self.router_aux_loss_coef * aux_loss / steps

    @torch.no_grad()
    def log_agreement(self, logits: Tensor, inputs: dict) -> None:
        ways = logits.gather(1, inputs["among"]).masked_fill(inputs["shares"] == 0, -torch.inf)
        same = ways.argmax(1) == inputs["shares"].argmax(1)
        self._metrics["train"]["choice_agreement"].append(self.accelerator.gather(same.float().mean()).mean().item())


def choice_losses(logits: Tensor, among: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropies [choices]; logits [choices, vocabulary], among and shares [choices, ways], share 0: no way."""
    absent = shares == 0
    ways = logits.gather(1, among).float()
    log_probs = ways.masked_fill(absent, torch.finfo(ways.dtype).min).log_softmax(1)
    return -(shares * log_probs.masked_fill(absent, 0.0)).sum(1)
