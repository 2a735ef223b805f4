"""The trainers of `gr2 rl` and `gr2 distil`: all that we change of TRL's. tests/rl/test_trl_hooks.py holds signatures.

Method of TRL                       What we change                       Why                           State it leaves
----------------------------------  -----------------------------------  ----------------------------  ---------------
_generate                           without the model's own settings     the recipe alone sets them
                                    flat groups are sampled again        DAPO's dynamic sampling       batch
_generate_and_score_completions     advantages of flat groups become 0   rounding is no advantage      state[LEARNED]
                                    decisions join what it returns       compute_loss is given them
_calculate_rewards                  returns `batch.rewards`              `_generate` had to know them
rollout_func                        answers by choices                   structured                    Rollout.decisions
compute_loss                        keeps the micro-batch's decisions    the next method needs them    batch.decisions
_get_per_token_logps_and_entropies  logits where a token was chosen      structured: exact gradients
evaluate                            NDCG of greedy answers (Validation)  TRL's samples, and rewards    state.best_*
create_model_card                   writes nothing (gr2/training.py)

Besides, `_step` is read and `_metrics`, `_pending_metrics` and `_logs` are written.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import TrainerState
from trl import DistillationTrainer, GRPOTrainer

from gr2.errors import InputError
from gr2.rates import RolloutMeterMixin
from gr2.rl.choices import pad_decisions, roll_out_choices
from gr2.rl.decoding import RecipeDecoding
from gr2.rl.groups import draw_rows, find_spread, pair_rows, round_to_groups
from gr2.rl.rewards import ReadAnswer
from gr2.rl.scoring import score_answers
from gr2.rl.validation import Validation
from gr2.terminal import warn
from gr2.training import NoCardMixin

DECISIONS = ("places", "masks")  # of `pad_decisions`, in what TRL hands on
LEARNED = "a_group_had_spread"  # in `state.stateful_callbacks`, and so in the checkpoints


class Rollout(NamedTuple):
    """One answer: the row of the data that it answers, and what TRL keeps of it."""

    row: dict
    prompt_ids: list[int]
    completion_ids: list[int]
    completion: list[dict]
    logprobs: list[float] | None  # vLLM's
    chosen: list[int] | None  # structured: 1 for each token that was chosen, 0 for one that the slate forced
    decisions: tuple[list[int], np.ndarray] | None  # structured: see `pack_decisions`


@dataclass
class Batch:
    """What TRL's methods do not hand to one another, from one generation to the next."""

    rows: list[dict]  # of this process; where a group was replaced, of other slates
    rewards: torch.Tensor | None = None  # [rows of all processes, reward functions]
    decisions: tuple[torch.Tensor, torch.Tensor] | None = None  # of the rows to score, see `pad_decisions`


class OnPolicyDistiller(RecipeDecoding, RolloutMeterMixin, NoCardMixin, DistillationTrainer):
    """TRL's trainer, with rollouts that follow the recipe alone."""


class RerankingTrainer(RecipeDecoding, RolloutMeterMixin, NoCardMixin, GRPOTrainer):
    """GRPO on rows of gr2/rl/examples.py; groups without spread are sampled again, up to `max_resamples` times.

    A group has spread where the first reward function tells its answers apart; penalties do not count. Without spread
    it is not learned from. A group may lie on several processes: each sees all rewards and decides the same.

    structured: the policy is the list of choices under the row's `schema`, and DAPO's mean over tokens is one over
    chosen tokens. Ours, not GR2's: a small model that cannot yet copy semantic IDs would see only invalid answers.

    Logs the share of groups without spread as first sampled (`zero_spread`) and in the batch that is learned from
    (`flat`), and the tries between (`resamples`). TRL's `reward...` are of the latter; what reward functions log, and
    `completions/...`, of the batch as first sampled, a fair sample of the policy; `num_tokens` counts all.
    """

    def __init__(self, *args, max_resamples: int, structured: bool = False, read: ReadAnswer | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.max_resamples, self.structured, self.meter.shared = max_resamples, structured, structured
        self.batch, self.warned = Batch([]), False
        if self.eval_dataset is not None:
            self.validation = Validation(self, read)
            self.add_callback(self.validation)

    def evaluate(self, *_, **__) -> dict[str, float]:
        self.model.eval()
        metrics = self.validation.measure()
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.model.train()
        return metrics

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        self.batch = Batch(inputs)
        scored = super()._generate_and_score_completions(inputs)
        spread = find_spread(self.batch.rewards[:, 0], self.num_generations)
        self.state.stateful_callbacks[LEARNED] = self.state.stateful_callbacks.get(LEARNED, False) or any(spread)
        self._metrics["train"]["flat"].append(spread.count(False) / len(spread))
        mask = torch.tensor(spread, device=self.accelerator.device).repeat_interleave(self.num_generations)
        advantages = torch.where(self.take_share(mask), scored["advantages"], 0.0)
        self._logs["advantages"].extend(self.accelerator.gather(advantages).tolist())  # it keeps the latest batch's
        decisions = dict(zip(DECISIONS, self.batch.decisions, strict=True)) if self.structured else {}
        return scored | decisions | {"advantages": advantages}

    def _generate(self, prompts: list) -> tuple:
        """Answers to the batch's rows, or others in place of flat groups; `prompts`, which TRL logs, become theirs."""
        rollouts, rewards = self.sample(self.batch.rows)
        spread = find_spread(rewards[:, 0], self.num_generations)
        self._metrics["train"]["zero_spread"].append(spread.count(False) / len(spread))
        self._metrics["train"]["resamples"].append(self.replace_flat_groups(rollouts, rewards))
        rows, prompt_ids, completion_ids, completions, logprobs, chosen, decisions = map(
            list, zip(*rollouts, strict=True)
        )
        self.batch = Batch(rows, rewards, pad_decisions(decisions, rewards.device) if self.structured else None)
        prompts[:] = [row["prompt"] for row in rows]
        logprobs, chosen = None if None in logprobs else logprobs, chosen if self.structured else None
        return prompt_ids, completion_ids, chosen, completions, logprobs, {}, None, []

    def _calculate_rewards(self, *_) -> torch.Tensor:
        return self.batch.rewards

    def sample(self, rows: list[dict]) -> tuple[list[Rollout], torch.Tensor]:
        """An answer to each of this process's rows, and the rewards [rows of all processes, reward functions]."""
        prompts, nothing = [row["prompt"] for row in rows], [None] * len(rows)
        if self.structured:
            self.rollout_func = partial(roll_out_choices, rows=rows)
        prompt_ids, completion_ids, chosen, completions, logprobs, extra, *_ = super()._generate(prompts)
        rewards = super()._calculate_rewards(rows, prompts, completions, completion_ids)
        columns = rows, prompt_ids, completion_ids, completions, logprobs or nothing, chosen or nothing
        columns = *columns, extra.get("decisions", nothing)
        return [Rollout(*values) for values in zip(*columns, strict=True)], rewards

    def sample_unlogged(self, rows: list[dict]) -> tuple[list[Rollout], torch.Tensor]:
        """As `sample`, but of what is logged on the way only the number of tokens is kept."""
        pending, metrics = self._pending_metrics, self._metrics["train"]
        self._pending_metrics, self._metrics["train"] = defaultdict(list), defaultdict(list)
        sampled = self.sample(rows)
        metrics["num_tokens"] = self._metrics["train"]["num_tokens"]
        self._pending_metrics, self._metrics["train"] = pending, metrics
        return sampled

    def replace_flat_groups(self, rollouts: list[Rollout], rewards: torch.Tensor) -> int:
        """Replaces groups without spread, in both, by other slates' that have it; returns the number of tries."""
        size, others, tries = self.num_generations, self.draw_others(), 0
        first = self.accelerator.process_index * len(rollouts)
        while not all(spread := find_spread(rewards[:, 0], size)) and tries < self.max_resamples:
            count = round_to_groups(spread.count(False), size, self.accelerator.num_processes)
            drawn = list(islice(others, count))
            if len(drawn) < count:  # every slate has been tried
                break
            tries += 1
            sampled, fresh_rewards = self.sample_unlogged(self.take_share([row for row in drawn for _ in range(size)]))
            fresh = gather_object(sampled)
            for row, source in pair_rows(spread, find_spread(fresh_rewards[:, 0], size), size):
                rewards[row] = fresh_rewards[source]
                if first <= row < first + len(rollouts):
                    rollouts[row - first] = fresh[source]
        if self.max_resamples and not all(spread) and not self.warned and self.accelerator.is_main_process:
            self.warned = True
            flat = f"step {self.state.global_step + 1}: {spread.count(False)} of {len(spread)} groups have no spread"
            warn(f"{flat} after {tries} resamples and stay (warned once; see `zero_spread`)")
        return tries

    def draw_others(self) -> Iterator[dict]:
        """Rows of the train set in random order, none of them this batch's: a function of seed and step alone."""
        seed = self.args.seed, self.state.global_step, self._step % self.args.gradient_accumulation_steps
        taken = gather_object([row["slate_id"] for row in self.batch.rows])
        yield from draw_rows(self.train_dataset, taken, seed)

    def take_share(self, rows: Sequence) -> Sequence:
        """This process's part of the rows of all processes."""
        share = len(rows) // self.accelerator.num_processes
        return rows[self.accelerator.process_index * share :][:share]

    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, num_items_in_batch=None) -> torch.Tensor:
        self.batch.decisions = [inputs[name] for name in DECISIONS if self.structured]
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _get_per_token_logps_and_entropies(self, model, input_ids, attention_mask, logits_to_keep, *args, **kwargs):
        given = model, input_ids, attention_mask, logits_to_keep, *args
        if self.structured:
            return score_answers(self, *given, **kwargs)
        return super()._get_per_token_logps_and_entropies(*given, **kwargs)


def refuse_unlearned(state: TrainerState) -> None:
    """InputError after a training in which no group had spread: its first model would be handed on as its last."""
    if not state.stateful_callbacks[LEARNED]:
        same = f"in none of {state.global_step} steps did the answers to any slate earn different rewards"
        expected = "more SFT, a higher temperature, or structured: true where answers are unusable"
        raise InputError(f"nothing was learned: {same}; expected {expected}")
