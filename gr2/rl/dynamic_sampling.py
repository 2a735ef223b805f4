"""Dynamic sampling (DAPO, 2503.14476, section 3.2): groups without spread in their rewards are sampled again.

A group whose answers all have the same ranking reward has no advantage and no gradient, whatever its penalties for length
are and whatever rounding leaves of the mean of equal numbers. Such groups are replaced, whole, by answers to other
slates, until every group has spread or the retries are used up; the batch keeps its size. Where we differ: DAPO
over-samples every batch; here as many slates are drawn as there are groups to replace.
"""

import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import TrainerState
from trl import GRPOTrainer

from gr2.errors import InputError
from gr2.rl.decoding import RecipeDecoding

LEARNED = "a_group_had_spread"  # in the trainer's state


class Rollout(NamedTuple):
    """One answer: the row of the data that it answers, and what TRL keeps of it."""

    row: dict
    prompt_ids: list[int]
    completion_ids: list[int]
    completion: list[dict]
    logprobs: list[float] | None  # vLLM's


class DynamicSamplingTrainer(RecipeDecoding, GRPOTrainer):
    """GRPOTrainer whose batches have spread as far as `max_resamples` retries allow (0: nothing is sampled again).

    Spread is that of the first reward function, so penalties such as those for length do not count, and in a group without
    spread they are not learned from. A group may lie on several processes: each of them sees all rewards and takes the
    same decision. Rows of the train set need a `slate_id`.

    Logs `zero_spread`, the share of groups without spread as first sampled, `flat`, their share in the batch that is
    learned from, and `resamples`, the retries between the two. TRL's `reward...` are of the batch that is learned from;
    what the reward functions log, and TRL's `completions/...`, are of the batch as first sampled, which is a fair sample
    of the policy; `num_tokens` counts all that was sampled.
    """

    def __init__(self, *args, max_resamples: int, **kwargs):
        super().__init__(*args, **kwargs)
        self.max_resamples = max_resamples
        self.warned = False

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        self.rows = [dict(row) for row in inputs]  # `_generate` puts other rows in their places
        batch = super()._generate_and_score_completions(self.rows)
        return batch | {"advantages": self._without_flat_groups(batch["advantages"])}

    def _without_flat_groups(self, advantages: torch.Tensor) -> torch.Tensor:
        """advantages [rows of this process], exactly 0 in groups without spread. TRL's count of tokens stays."""
        spread = with_spread(self.rewards[:, 0], self.num_generations)
        kept = self.state.stateful_callbacks  # with the checkpoints
        kept[LEARNED] = kept.get(LEARNED, False) or any(spread)
        self._metrics["train"]["flat"].append(spread.count(False) / len(spread))
        rows = torch.tensor(spread, device=advantages.device).repeat_interleave(self.num_generations)
        start = self.accelerator.process_index * len(advantages)
        advantages = torch.where(rows[start : start + len(advantages)], advantages, 0.0)
        self._logs["advantages"].extend(self.accelerator.gather(advantages).tolist())  # it holds the latest batch
        return advantages

    def _generate(self, prompts: list) -> tuple:
        """Answers to `self.rows`, some of which are replaced, as are their `prompts`: TRL reads both again afterwards."""
        rollouts, rewards = self._sampled(self.rows)
        spread = with_spread(rewards[:, 0], self.num_generations)
        zero_spread, attempts = spread.count(False) / len(spread), 0
        fresh = self._fresh_rows()
        while not all(spread) and attempts < self.max_resamples:
            count = whole_groups(spread.count(False), self.num_generations, self.accelerator.num_processes)
            drawn = list(islice(fresh, count))
            if len(drawn) < count:  # every slate has been tried
                break
            attempts += 1
            others, other_rewards = self._sampled_unlogged(
                self._local([dict(row) for row in drawn for _ in range(self.num_generations)])
            )
            others = gather_object(others)
            for place, group in replacements(spread, with_spread(other_rewards[:, 0], self.num_generations)):
                self._replace(rollouts, rewards, place, others, other_rewards, group)
                spread[place] = True
        self._metrics["train"]["zero_spread"].append(zero_spread)
        self._metrics["train"]["resamples"].append(attempts)
        if self.max_resamples and not all(spread) and not self.warned and self.accelerator.is_main_process:
            self.warned = True
            warnings.warn(f"step {self.state.global_step + 1}: {spread.count(False)} of {len(spread)} groups have no spread "
                          f"after {attempts} resamples and stay (said once; the log has `zero_spread`)", stacklevel=2)  # fmt: skip
        self.rewards = rewards
        rows, prompt_ids, completion_ids, completions, logprobs = map(list, zip(*rollouts, strict=True))
        self.rows[:] = rows
        prompts[:] = [row["prompt"] for row in rows]
        return prompt_ids, completion_ids, None, completions, None if None in logprobs else logprobs, {}, None, []

    def _calculate_rewards(self, *_) -> torch.Tensor:
        return self.rewards  # known since `_generate`

    def _sampled(self, rows: list[dict]) -> tuple[list[Rollout], torch.Tensor]:
        """An answer to each of this process's rows, and the rewards [rows of all processes, reward functions]."""
        self.answered = rows
        prompts = [row["prompt"] for row in rows]
        prompt_ids, completion_ids, _, completions, logprobs, *_ = super()._generate(prompts)
        rewards = super()._calculate_rewards(rows, prompts, completions, completion_ids)
        columns = rows, prompt_ids, completion_ids, completions, logprobs or [None] * len(rows)
        return [Rollout(*values) for values in zip(*columns, strict=True)], rewards

    def _sampled_unlogged(self, rows: list[dict]) -> tuple[list[Rollout], torch.Tensor]:
        """As `_sampled`, but of what is logged on the way only the number of tokens is kept."""
        pending, metrics = self._pending_metrics, self._metrics["train"]
        self._pending_metrics, self._metrics["train"] = defaultdict(list), defaultdict(list)
        sampled = self._sampled(rows)
        metrics["num_tokens"] = self._metrics["train"]["num_tokens"]
        self._pending_metrics, self._metrics["train"] = pending, metrics
        return sampled

    def _fresh_rows(self) -> Iterator[dict]:
        """Rows of the train set in random order, none twice and none of this batch: a function of seed and step alone."""
        within_step = self._step % self.args.gradient_accumulation_steps
        rng = np.random.default_rng([self.args.seed, self.state.global_step, within_step])
        seen = set(gather_object([row["slate_id"] for row in self.rows]))
        for index in rng.permutation(len(self.train_dataset)):
            row = self.train_dataset[int(index)]
            if row["slate_id"] not in seen:
                seen.add(row["slate_id"])
                yield row

    def _local(self, rows: list) -> list:
        """This process's share of the rows of all processes."""
        share = len(rows) // self.accelerator.num_processes
        return rows[self.accelerator.process_index * share :][:share]

    def _replace(self, rollouts: list[Rollout], rewards: torch.Tensor, place: int, others: list[Rollout],
                 other_rewards: torch.Tensor, group: int) -> None:  # fmt: skip
        """Puts group `group` of all processes' `others` into place `place` of the batch, as far as it lies here."""
        offset = self.accelerator.process_index * len(rollouts)
        for member in range(self.num_generations):
            to, source = place * self.num_generations + member, group * self.num_generations + member
            rewards[to] = other_rewards[source]
            if offset <= to < offset + len(rollouts):
                rollouts[to - offset] = others[source]


def refuse_unlearned(state: TrainerState) -> None:
    """InputError after a training in which no group had spread: its first model would be handed on as its last."""
    if not state.stateful_callbacks[LEARNED]:
        raise InputError(
            f"nothing was learned: in none of {state.global_step} steps did the answers to any slate earn different rewards; "
            "expected a model that answers in more than one way (more SFT, a higher temperature, or structured: true where "
            "its answers are unusable)"
        )


def with_spread(rewards: torch.Tensor, group_size: int) -> list[bool]:
    """rewards [rows], a group's rows side by side -> for each group whether its rewards are not all the same."""
    groups = rewards.view(-1, group_size)
    return (groups.amax(1) > groups.amin(1)).tolist()


def replacements(spread: Sequence[bool], others: Sequence[bool]) -> list[tuple[int, int]]:
    """(place of a group without spread, another group that has spread) in order, as many as there are of both."""
    places = [place for place, has in enumerate(spread) if not has]
    groups = [group for group, has in enumerate(others) if has]
    return list(zip(places, groups, strict=False))


def whole_groups(wanted: int, group_size: int, processes: int) -> int:
    """The least number of groups, at least `wanted`, whose rows are the same number on every process."""
    unit = processes // math.gcd(group_size, processes)
    return math.ceil(wanted / unit) * unit
