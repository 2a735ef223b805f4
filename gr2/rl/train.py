"""gr2 rl: slates + a model -> the same model after DAPO-style reinforcement learning.

TRL's GRPOTrainer with DAPO's settings (2503.14476): clip-higher, token-level mean, no KL, dynamic sampling; the reward
is one of gr2/rl/rewards.py. With eval_slates the best checkpoint on validation is written, not the last. Every option
of TRL's GRPOConfig is an option here.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from trl import GRPOConfig

from gr2.config import arg
from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.precision import OwnPrecision
from gr2.rl.rewards import REWARDS

LEAST_GROUP = 8  # answers a slate; GR2's own group size (2607.01170)


@dataclass(kw_only=True)
class Config(OwnPrecision, GRPOConfig):
    items: str = arg(help="items.parquet", path=True)
    semantic_ids: str = arg(help="semantic_ids.parquet", path=True)
    slates: str = arg(help="slates.parquet; its train split is learned", path=True)
    model_name_or_path: str = arg(help="the model after `gr2 sft`", path=True)
    prompt: str = arg("prompts/student.yaml", "the same prompt file as in sft and rerank", path=True)
    max_prompt_tokens: int | None = arg(
        None, "the oldest history items are left out until a prompt has at most so many tokens; as in sft"
    )
    reward: str = arg("gr2_conditional", f"one of {', '.join(REWARDS)}; gr2_naive is there to watch it being hacked")
    alpha: float = arg(0.2, "weight of the format reward (GR2: 0.2)")
    overlong_cache: int = arg(0, "punish answers that use these last tokens of max_completion_length (DAPO); 0: never")
    dynamic_sampling: bool = arg(False, "sample groups whose rankings all earn the same again, from other slates")
    max_resamples: int = arg(8, "dynamic_sampling: at most so many times a batch")
    shuffle_candidates: bool = arg(False, "show candidates in random order; rewards stay relative to the input order")
    structured: bool = arg(False, "decode rollouts under the answer's grammar, for models that cannot yet copy IDs")
    max_slates: int | None = arg(None, "learn from at most so many slates")
    eval_slates: int = arg(0, "valid slates to answer every eval_steps; checkpoints are then saved there. 0: none")
    epsilon_high: float = arg(0.28, "DAPO's clip-higher; the lower bound is epsilon, 0.2")
    mask_truncated_completions: bool = arg(False, "an answer that is cut off is invalid, and counts")
    report_to: str = arg("none", "trackers: tensorboard, trackio, wandb, none")

    def __post_init__(self) -> None:
        if self.eval_slates:
            from gr2.rl.validation import METRIC

            self.eval_strategy = self.save_strategy = "steps"  # the best has to be one of those that are kept
            self.eval_steps = self.save_steps = self.eval_steps or self.save_steps
            self.load_best_model_at_end, self.metric_for_best_model = True, METRIC
            self.num_generations_eval = 1
        super().__post_init__()


def run(config: Config) -> None:
    refuse(config)
    from datasets import Dataset

    from gr2.answers import parse
    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.prompts import load_prompt
    from gr2.rl.slates import training_rows, validation_rows
    from gr2.rl.structured import StructuredTrainer
    from gr2.rl.validation import ValidatedTrainer, chosen
    from gr2.training import train

    prompt = load_prompt(config.prompt)
    catalogue = read_catalogue(config.items, config.semantic_ids)
    rows = training_rows(config, catalogue, prompt)
    print(f"{len(rows)} slates, {config.num_generations} answers each, reward {config.reward}", flush=True)
    foresee(config, rows)
    if config.num_generations < LEAST_GROUP:
        warnings.warn(
            f"num_generations {config.num_generations}: groups below {LEAST_GROUP} give noisy advantages", stacklevel=2
        )
    read = partial(parse, sids=catalogue.sid, has_trace=prompt.has_trace)
    trainer = (StructuredTrainer if config.structured else ValidatedTrainer)(
        model=load_model(config.model_name_or_path),
        reward_funcs=reward_functions(config, read),
        args=config,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(validation_rows(config, catalogue, prompt)) if config.eval_slates else None,
        processing_class=load_tokenizer(config.model_name_or_path),
        read=read,
        max_resamples=config.max_resamples if config.dynamic_sampling else 0,
    )
    train(trainer)
    if config.eval_slates and trainer.is_world_process_zero():
        print(chosen(trainer.state), flush=True)


def refuse(config: Config) -> None:
    """Raises InputError for options that do not go together or are out of their range."""
    if config.reward not in REWARDS:
        raise InputError(f"reward '{config.reward}': expected one of {', '.join(REWARDS)}")
    if config.structured and config.use_vllm:
        raise InputError("structured: expected use_vllm false; TRL's vLLM takes no grammar of each slate's own")
    if not 0 <= config.overlong_cache < config.max_completion_length:
        raise InputError(f"overlong_cache {config.overlong_cache}: expected 0 or more tokens, fewer than "
                         f"max_completion_length, {config.max_completion_length}")  # fmt: skip
    if config.dynamic_sampling and config.max_resamples < 1:
        raise InputError(f"max_resamples {config.max_resamples}: expected at least 1 with dynamic_sampling")
    if config.eval_slates < 0:
        raise InputError(f"eval_slates {config.eval_slates}: expected 0 or more")


def foresee(config: Config, rows: list[dict]) -> None:
    """Says what the reward pays for orders that look at nothing, and warns where one of them can be a hack."""
    from gr2.rl.blind_orders import described, hack, mean_rewards

    means = mean_rewards(REWARDS[config.reward], rows, config.alpha)
    print(described(means), flush=True)
    if blind := hack(means):
        warnings.warn(f"reward {config.reward}: on these slates {blind} pays more than a copy of the input order, and can be "
                      "learned without looking at a user (a smaller alpha or another reward may not pay for it)",
                      stacklevel=2)  # fmt: skip


def reward_functions(config: Config, read: Callable) -> list[Callable]:
    """TRL's form of the rewards. The first is the ranking reward, whose spread dynamic sampling goes by."""
    from trl.rewards import get_soft_overlong_punishment

    from gr2.rl.diagnostics import diagnose

    reward = REWARDS[config.reward]

    def ranking_reward(completions, candidates, labels, log_metric, **_) -> list[float]:
        """Parses each completion, logs the diagnostics, returns one float per completion."""
        answers = [read(turns[0]["content"], given) for turns, given in zip(completions, candidates, strict=True)]
        facts = diagnose(answers, candidates, labels)
        for name, value in facts.items():
            log_metric(name, value)
        if facts["valid"] == 0:
            warnings.warn("a whole batch of unusable answers: nothing can be learned from it (more SFT, or structured: true)",
                          stacklevel=2)  # fmt: skip
        return [
            reward(answer.ranking, given, relevant, config.alpha)
            for answer, given, relevant in zip(answers, candidates, labels, strict=True)
        ]

    if not config.overlong_cache:
        return [ranking_reward]
    return [ranking_reward, get_soft_overlong_punishment(config.max_completion_length, config.overlong_cache)]
