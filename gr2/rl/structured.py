"""Rollouts under a schema: GRPOTrainer for a policy whose answers are permutations of their slates by construction."""

import json

import numpy as np
import torch
from transformers import LogitsProcessorList
from trl import GRPOTrainer
from trl.models import unwrap_model_for_generation

from gr2.language_model.grammar_processor import GrammarProcessor, unpacked


class StructuredGRPOTrainer(GRPOTrainer):
    """Each row of the data has a JSON schema in its column `schema`. The policy is the model under that schema's grammar.

    Ours, not GR2's: a small model that cannot yet copy semantic IDs from its prompt would see nothing but invalid answers.
    Tokens are sampled from the admitted ones, and their log-probabilities are taken over the admitted ones, so the policy
    gradient is exact; a token that the grammar forces has probability 1 and no gradient.
    """

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        self.schemas = [json.loads(row["schema"]) for row in inputs]
        return super()._generate_and_score_completions(inputs) | {"admitted": self.admitted}

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_, **__) -> tuple[list[list[int]], None]:
        """Token ids of one answer per prompt, up to its end-of-turn token; keeps what was admitted, [batch, length, words]."""
        tokenizer = self.processing_class
        processor = GrammarProcessor(tokenizer, self.schemas)
        batch = tokenizer.pad({"input_ids": prompt_ids}, padding_side="left", return_tensors="pt")
        batch = batch.to(self.accelerator.device)
        with (
            unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                gather_deepspeed3_params=self.args.ds3_gather_for_generation,
                generation_kwargs=self.generation_kwargs,
            ) as model,
            torch.no_grad(),
            self._dist.summon_full_params(self.model_wrapped, recurse=False),
        ):
            output = model.generate(
                **batch, generation_config=self.generation_config, logits_processor=LogitsProcessorList([processor])
            )
        end = tokenizer.eos_token_id
        answers = output[:, batch["input_ids"].shape[1] :].tolist()
        answers = [answer[: answer.index(end) + 1] if end in answer else answer for answer in answers]
        admitted = np.stack(processor.masks, axis=1)
        for row, answer in enumerate(answers):
            admitted[row, len(answer) :] = -1  # padding: whatever stands there does not count
        self.admitted = torch.from_numpy(admitted).to(self.accelerator.device)
        return answers, None

    def _compute_loss(self, model, inputs: dict) -> torch.Tensor:
        self.admitted = inputs["admitted"]
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, *_, **__
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """log-probabilities and entropies [batch, logits_to_keep] among the admitted tokens."""
        with self.accelerator.autocast():
            logits = model(input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=logits_to_keep + 1).logits
        logits = logits[:, :-1].float() / self.temperature
        admitted = unpacked(self.admitted[:, :logits_to_keep], logits.shape[-1])
        logps = logits.masked_fill(~admitted, torch.finfo(logits.dtype).min).log_softmax(-1)
        chosen = logps.gather(-1, input_ids[:, -logits_to_keep:].unsqueeze(-1)).squeeze(-1)
        entropies = -(logps.exp() * logps.masked_fill(~admitted, 0.0)).sum(-1)
        return chosen, entropies, None
