"""Rollouts under a schema: a trainer for a policy whose answers are permutations of their slates by construction."""

import json

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from gr2.rl.decoding import decode
from gr2.rl.validation import ValidatedTrainer
from gr2.samplers.grammar_processor import GrammarProcessor, unpacked


class StructuredTrainer(ValidatedTrainer):
    """Each row of the data has a JSON schema in its column `schema`. The policy is the model under that schema's grammar.

    Ours, not GR2's: a small model that cannot yet copy semantic IDs from its prompt would see nothing but invalid answers.
    Tokens are sampled from the admitted ones, and their log-probabilities are taken over the admitted ones, so the policy
    gradient is exact; a token that the grammar forces has probability 1 and no gradient.
    """

    def grammars(self, rows: list[dict]) -> list[GrammarProcessor]:
        return [GrammarProcessor(self.processing_class, [json.loads(row["schema"]) for row in rows])]

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        return super()._generate_and_score_completions(inputs) | {"admitted": self.admitted}

    def _generate(self, prompts: list) -> tuple:
        """Keeps what was admitted, int32 [batch, length, words]; past an answer's end everything is."""
        generated = super()._generate(prompts)
        admitted = [torch.from_numpy(row["admitted"]) for row in self.rows]
        self.admitted = pad_sequence(admitted, batch_first=True, padding_value=-1).to(self.accelerator.device)
        return generated

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_, **__) -> tuple[list[list[int]], None]:
        """Token ids of one answer per prompt; what was admitted, int32 [length, words], goes into the answered row."""
        (processor,) = self.grammars(self.answered)
        answers = decode(self, prompt_ids, self.generation_config, [processor])
        masks = np.stack(processor.masks, axis=1)
        for row, mask, answer in zip(self.answered, masks, answers, strict=True):
            row["admitted"] = mask[: len(answer)]
        return answers, None

    def _compute_loss(self, model, inputs: dict) -> torch.Tensor:
        self.admitted = inputs["admitted"]
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, *_, compute_aux_loss: bool = False, **__
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """log-probabilities and entropies [batch, logits_to_keep] among the admitted tokens; a mixture's balancing loss."""
        routed = {"output_router_logits": True} if compute_aux_loss else {}
        with self.accelerator.autocast():
            output = model(
                input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=logits_to_keep + 1, **routed
            )
        logits = output.logits[:, :-1].float() / self.temperature
        admitted = unpacked(self.admitted[:, :logits_to_keep], logits.shape[-1])
        logps = logits.masked_fill(~admitted, torch.finfo(logits.dtype).min).log_softmax(-1)
        chosen = logps.gather(-1, input_ids[:, -logits_to_keep:].unsqueeze(-1)).squeeze(-1)
        entropies = -(logps.exp() * logps.masked_fill(~admitted, 0.0)).sum(-1)
        return chosen, entropies, output.aux_loss if compute_aux_loss else None
