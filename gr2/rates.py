"""How fast a training was: tokens a second and the share of the device's peak.

As in NeMo-RL (nemo_rl/algorithms/grpo.py): `tokens_per_sec_per_gpu` is over whole steps, `train_fp_utilization` over
the part of them that trains. What a model needs is counted as in PaLM (2204.02311, appendix B), whatever is computed
again to save memory: 6 operations a token and parameter (Kaplan, 2001.08361: 2 forwards, 4 backwards; 4 in all where
the parameter is frozen), the table of input embeddings left out, and attention's 6 x layers x width for each pair of
tokens of a text: half of PaLM's, as in NeMo-RL (nemo_rl/utils/flops_formulas.py), since a token sees what is before it;
layers with a window count as if they saw all of that.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import PreTrainedModel, Trainer, TrainerCallback
from transformers.trainer_pt_utils import get_model_param_count

from gr2.devices import find_peak


class Meter(TrainerCallback):
    """What this process has read in training, and how long its steps took.

    counts: tokens, the same with padding, and pairs of tokens of one text. A step's seconds go from the end of the one
    before, so that they hold what makes its batch, but no checkpoint and no validation.
    """

    def __init__(self, model: PreTrainedModel):
        self.each_token, self.each_pair = count_operations(model)
        self.shared = False  # whether a prompt is read once for all of its answers in a batch
        self.steps, self.since, self.seconds, self.rollout_seconds = 0, 0.0, 0.0, 0.0
        self.counts = torch.zeros(3, dtype=torch.int64)  # stay on the device: to read them would wait for it

    def on_step_begin(self, *_, **__) -> None:
        if not self.steps:
            self.since = time.monotonic()

    def on_step_end(self, *_, **__) -> None:
        now = time.monotonic()
        self.steps, self.seconds, self.since = self.steps + 1, self.seconds + now - self.since, now

    def on_evaluate(self, *_, **__) -> None:
        self.since = time.monotonic()

    def on_save(self, *_, **__) -> None:
        self.since = time.monotonic()

    @contextmanager
    def time_rollouts(self) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.rollout_seconds += time.monotonic() - start

    def count(self, inputs: dict) -> None:
        """Counts a batch as transformers' and TRL's trainers have it."""
        if "prompt_mask" in inputs:
            counts = self.count_answers(inputs["prompt_ids"], inputs["prompt_mask"], inputs["completion_mask"])
        elif "position_ids" in inputs:  # texts behind one another, none of it padding
            position = inputs["position_ids"]
            tokens = torch.ones_like(position).sum()
            counts = tokens, tokens, (2 * position + 1).sum()
        else:
            mask = inputs["attention_mask"]
            lengths = mask.sum(1)
            counts = lengths.sum(), torch.ones_like(mask).sum(), (lengths**2).sum()
        self.counts = self.counts.to(counts[0].device) + torch.stack(counts)

    def count_answers(self, prompt_ids: Tensor, prompt_mask: Tensor, answer_mask: Tensor) -> tuple[Tensor, ...]:
        """As if every answer were behind its own prompt, or, `shared`, a prompt's answers behind the first of it."""
        again = torch.zeros(len(prompt_ids), dtype=torch.bool, device=prompt_ids.device)
        if self.shared:
            _, row = prompt_ids.unique(dim=0, return_inverse=True)
            again = (row[:, None] == row).tril(-1).any(1)
        prompt, answer = prompt_mask.sum(1), answer_mask.sum(1)
        read = prompt.masked_fill(again, 0)
        padded = (~again).sum() * prompt_mask.shape[1] + answer_mask.numel()
        return (read + answer).sum(), padded, (read**2 + 2 * prompt * answer + answer**2).sum()

    def report(self, accelerator: Accelerator) -> dict:
        """The rates of all processes together, by the clock of this one; every process has to take part.

        None where nothing can be said: no step was made, the device's peak is not known, or the model is a mixture of
        experts, whose tokens do not use all parameters.
        """
        counts = self.counts.to(accelerator.device)
        tokens, padded_tokens, pairs = accelerator.reduce(counts, reduction="sum").tolist()
        device, devices = device_name(accelerator.device), accelerator.num_processes
        train_seconds = self.seconds - self.rollout_seconds
        rates = {
            "steps": self.steps,
            "tokens": tokens,
            "padded_tokens": padded_tokens,
            "seconds": round(self.seconds, 3),
            "rollout_seconds": round(self.rollout_seconds, 3),
            "train_seconds": round(train_seconds, 3),
            "device": device,
            "devices": devices,
            "tokens_per_second_per_device": None,
            "tflops_per_device": None,
            "utilisation": None,
        }
        if self.steps:
            rates["tokens_per_second_per_device"] = round(tokens / self.seconds / devices, 1)
        if self.steps and self.each_token:
            operations = (self.each_token * tokens + self.each_pair * pairs) / train_seconds / devices
            rates["tflops_per_device"] = float(f"{operations / 1e12:.4g}")
            peak = find_peak(device)
            rates["utilisation"] = round(operations / peak, 4) if peak else None
        return rates


class MeterMixin:
    """A mixin for trainers of language models: `meter` counts every batch that is trained on."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.meter = Meter(self.model)
        self.add_callback(self.meter)

    def compute_loss(self, model, inputs: dict, *args, **kwargs):
        if self.model.training:
            self.meter.count(inputs)
        return super().compute_loss(model, inputs, *args, **kwargs)


class LanguageModelTrainer(MeterMixin, Trainer):
    """transformers' Trainer of a language model."""


class RolloutMeterMixin(MeterMixin):
    """The same for TRL's trainers on answers of their own; sampling and rewarding them is timed apart."""

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        with self.meter.time_rollouts():
            return super()._generate_and_score_completions(inputs)


def count_operations(model: PreTrainedModel) -> tuple[int, int]:
    """Operations of a training for each token and for each pair of tokens; 0, 0 for a mixture of experts."""
    config = model.config.get_text_config()
    given = config.to_dict()
    if "num_experts_per_tok" in given:
        return 0, 0
    layers = [model] if given.get("tie_word_embeddings") else [model, model.get_input_embeddings()]
    whole, *looked_up = [
        4 * get_model_param_count(layer) + 2 * get_model_param_count(layer, trainable_only=True) for layer in layers
    ]
    width = config.num_attention_heads * given["head_dim"] if given.get("head_dim") else config.hidden_size
    return whole - sum(looked_up), 6 * config.num_hidden_layers * width


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def describe(rates: dict) -> str:
    """One line for the terminal."""
    speed = f"{rates['tokens']:,} tokens, {rates['tokens_per_second_per_device']:,.0f} tokens/s per device"
    if rates["rollout_seconds"]:
        speed += f", {rates['rollout_seconds']:.1f} s of rollouts and {rates['train_seconds']:.1f} s of training"
    share = rates["utilisation"]
    return speed if share is None else f"{speed}, {100 * share:.1f} % of the peak of {rates['device']}"
