"""gr2 rl: slates + a model -> the same model after DAPO-style reinforcement learning.

TRL's GRPOTrainer with DAPO's settings (2503.14476): clip-higher, token-level mean, no KL, dynamic sampling; the reward
is one of gr2/rl/rewards.py. With eval_slates the best checkpoint on validation is written, without them the last. Every
option of TRL's GRPOConfig is an option here, but for those that gr2/stages/trl_options.py refuses.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from trl import GRPOConfig

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.options.declare import arg
from gr2.rl.rewards import REWARDS
from gr2.stages.shared import OwnPrecision
from gr2.stages.trl_options import RL, UNDER_A_GRAMMAR, check_choices, refuse_changed

LEAST_GROUP = 8  # answers a slate; GR2's own group size (2607.01170)

WRITES = ("training_log.jsonl",)


@dataclass(kw_only=True)
class Config(OwnPrecision, GRPOConfig):
    items: str = arg(help="items.parquet", path="items.parquet")
    semantic_ids: str = arg(help="semantic_ids.parquet", path="semantic_ids.parquet")
    slates: str = arg(help="slates.parquet; its train split is learned", path="slates.parquet")
    model_name_or_path: str = arg(help="the model after `gr2 sft`", path=True)
    prompt: str = arg("student", "the same prompt file as in sft and rerank", path=True)
    max_prompt_tokens: int | None = arg(
        None, "leave out the oldest history items until a prompt has this many tokens or fewer; as in sft", least=1
    )
    reward: Literal["gr2_conditional", "gr2_naive", "auc", "ndcg"] = arg(
        "gr2_conditional", "one of gr2/rl/rewards.py; gr2_naive is there to watch it being hacked"
    )
    alpha: float = arg(0.2, "weight of the format reward (GR2: 0.2)", least=0)
    overlong_cache: int = arg(
        0, "punish answers that use these last tokens of max_completion_length (DAPO); 0: never", least=0
    )
    dynamic_sampling: bool = arg(False, "sample groups whose rankings all earn the same again, from other slates")
    max_resamples: int = arg(8, "dynamic_sampling: retries a batch", least=1)
    shuffle_candidates: bool = arg(
        False, "show candidates in random order when training; rewards stay relative to the input order"
    )
    structured: bool = arg(False, "decode rollouts under the answer's grammar, for models that cannot yet copy IDs")
    max_slates: int | None = arg(None, "learn from this many slates, drawn at random under the seed", least=1)
    eval_slates: int = arg(
        0,
        "valid slates, drawn at random, to answer every eval_steps; checkpoints are then saved there, and the best is "
        "written. 0: none; the last model is written, however good it is",
        least=0,
    )
    epsilon_high: float = arg(0.28, "DAPO's clip-higher; the lower bound is epsilon, 0.2", least=0)
    mask_truncated_completions: bool = arg(False, "an answer that is cut off is invalid, and counts")
    # TRL's sequence_mask gives an answer weight 0 once the ratios of all its tokens multiply to more than 3, as those of long
    # answers do, while its tokens still count in DAPO's mean: long traces would not be learned, and nothing would say so.
    vllm_importance_sampling_mode: Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"] = arg(
        "token_truncate", "use_vllm: how the ratio of the trainer's to vLLM's probabilities is bounded"
    )
    report_to: str = arg("none", "trackers: tensorboard, trackio, wandb, none")

    def __post_init__(self) -> None:
        refuse_changed(self, RL | (UNDER_A_GRAMMAR if self.structured else {}))
        check_choices(self)
        if self.overlong_cache >= self.max_completion_length:
            raise InputError(f"--overlong_cache {self.overlong_cache}: expected fewer tokens than max_completion_length, "
                             f"{self.max_completion_length}")  # fmt: skip
        functions = 2 if self.overlong_cache else 1
        if self.reward_weights is not None and len(self.reward_weights) != functions:
            raise InputError(f"--reward_weights {' '.join(map(str, self.reward_weights))}: expected {functions}, for the "
                             "ranking reward and, with overlong_cache, the penalty for length")  # fmt: skip
        if self.sync_ref_model and not self.beta:
            raise InputError("--sync_ref_model true: expected beta above 0; without it there is no reference model")
        if self.eval_slates:
            from gr2.rl.validation import METRIC

            self.eval_strategy = self.save_strategy = "steps"  # the best has to be one of those that are kept
            self.eval_steps = self.save_steps = self.eval_steps or self.save_steps
            self.load_best_model_at_end, self.metric_for_best_model, self.greater_is_better = True, METRIC, True
            self.num_generations_eval = 1
        elif self.eval_strategy != "no" or self.load_best_model_at_end:
            raise InputError("--eval_slates 0: expected 1 or more with eval_strategy or load_best_model_at_end")
        super().__post_init__()


def run(config: Config) -> None:
    from datasets import Dataset

    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.language_model.taught_ids import check_taught, hand_on
    from gr2.prompts.answer import parse
    from gr2.prompts.checks import check_answer
    from gr2.prompts.prompt import load_prompt
    from gr2.prompts.room import check_room
    from gr2.rl.dynamic_sampling import refuse_unlearned
    from gr2.rl.examples import check_context, slates_of, training_rows, validation_rows
    from gr2.rl.structured import StructuredTrainer
    from gr2.rl.validation import ValidatedTrainer, chosen
    from gr2.training import train

    prompt = load_prompt(config.prompt)
    catalogue = read_catalogue(config.items, config.semantic_ids)
    tokenizer = load_tokenizer(config.model_name_or_path)
    taught = check_taught(config.model_name_or_path, tokenizer, catalogue, config.semantic_ids)
    catalogue = catalogue.safe_for(tokenizer)
    rows = training_rows(config, catalogue, prompt)
    judged = validation_rows(config, catalogue, prompt) if config.eval_slates else []
    print(f"{len(rows)} slates, {config.num_generations} answers each, reward {config.reward}", flush=True)
    foresee(config, rows)
    if config.num_generations < LEAST_GROUP:
        warnings.warn(
            f"num_generations {config.num_generations}: groups below {LEAST_GROUP} give noisy advantages", stacklevel=2
        )
    if not judged:
        warnings.warn(
            "eval_slates 0: nothing is validated; the last model is written, however good it is", stacklevel=2
        )
    check_answer(config.model_name_or_path, tokenizer, prompt, slates_of(config, catalogue, "train")[0], catalogue)
    check_room(rows + judged, catalogue, prompt, tokenizer, config.max_completion_length, "max_completion_length")
    model = load_model(config.model_name_or_path)
    check_context(rows + judged, tokenizer, config.max_completion_length, model.config.max_position_embeddings)
    read = partial(parse, sids=catalogue.sid, has_trace=prompt.has_trace)
    trainer = (StructuredTrainer if config.structured else ValidatedTrainer)(
        model=model,
        reward_funcs=reward_functions(config, read, set(tokenizer.get_vocab().values())),
        args=config,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(judged) if judged else None,
        processing_class=tokenizer,
        read=read,
        max_resamples=config.max_resamples if config.dynamic_sampling else 0,
    )
    train(trainer, refuse_unlearned)
    hand_on(trainer, taught)
    if judged and trainer.is_world_process_zero():
        print(chosen(trainer.state), flush=True)


def foresee(config: Config, rows: list[dict]) -> None:
    """Says what the reward pays for orders that look at nothing, and warns where one of them can be a hack."""
    from gr2.rl.blind_orders import described, hack, mean_rewards

    means = mean_rewards(REWARDS[config.reward], rows, config.alpha)
    print(described(means), flush=True)
    if blind := hack(means):
        warnings.warn(f"reward {config.reward}: on these slates {blind} pays more than a copy of the input order, and can be "
                      "learned without looking at a user (a smaller alpha or another reward may not pay for it)",
                      stacklevel=2)  # fmt: skip


def reward_functions(config: Config, read: Callable, known: set[int]) -> list[Callable]:
    """TRL's form of the rewards. The first is the ranking reward, whose spread dynamic sampling goes by.

    known: the tokenizer's tokens. An answer with another one, which decodes to nothing, is unusable.
    """
    from trl.rewards import get_soft_overlong_punishment

    from gr2.prompts.answer import Answer
    from gr2.rl.diagnostics import diagnose

    reward = REWARDS[config.reward]

    def ranking_reward(completions, completion_ids, candidates, labels, shown, log_metric, **_) -> list[float]:
        """Parses each completion, logs the diagnostics, returns one float per completion."""
        answers = [
            read(turns[0]["content"], given) if known.issuperset(ids) else Answer(reason="unknown_id")
            for turns, ids, given in zip(completions, completion_ids, candidates, strict=True)
        ]
        facts = diagnose(answers, candidates, labels, shown)
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
