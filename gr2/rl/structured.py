"""Rollouts under a schema: GRPOTrainer whose answers are permutations of their slates by construction."""

import json

import torch
from transformers import LogitsProcessorList
from trl import GRPOTrainer
from trl.models import unwrap_model_for_generation

from gr2.language_model.grammar_processor import GrammarProcessor


class StructuredGRPOTrainer(GRPOTrainer):
    """Each row of the data has a JSON schema in its column `schema`; `generate` decodes under it.

    Ours, not GR2's: a small model that cannot yet copy semantic IDs from its prompt would see nothing but invalid answers.
    The policy gradient is that of the model without the grammar: tokens are drawn from the admitted ones, and the ratio is
    1 where they are drawn, since answers are used once (`num_iterations` 1). What the grammar forces has a gradient too,
    so that the model learns the format along the way.
    """

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        self.schemas = [json.loads(row["schema"]) for row in inputs]
        return super()._generate_and_score_completions(inputs)

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_, **__) -> tuple[list[list[int]], None]:
        """Token ids of one answer per prompt, up to its end-of-turn token; the rest follows GRPOTrainer."""
        tokenizer = self.processing_class
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
        ):
            output = model.generate(
                **batch,
                generation_config=self.generation_config,
                logits_processor=LogitsProcessorList([GrammarProcessor(tokenizer, self.schemas)]),
            )
        answers = output[:, batch["input_ids"].shape[1] :].tolist()
        end = tokenizer.eos_token_id
        return [answer[: answer.index(end) + 1] if end in answer else answer for answer in answers], None
