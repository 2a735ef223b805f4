"""gr2 rl: slates + a model -> the same model after DAPO-style reinforcement learning.

TRL's GRPOTrainer with DAPO's settings (2503.14476): clip-higher, token-level mean, no KL; its dynamic sampling is a
switch. The reward is one of gr2/rl/rewards.py. With eval_slates the best checkpoint on validation is written, without
them the last. Every option of TRL's GRPOConfig is an option here, but for those that gr2/stages/trl_options.py refuses.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import polars as pl
from trl import GRPOConfig

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate, read_slate_table, sample_slates, slates_of
from gr2.options.declare import arg
from gr2.stages.shared import (
    HubOptions,
    PrecisionDefault,
    PromptOptions,
    SemanticIdOptions,
    SlateOptions,
    TrackerOptions,
)
from gr2.stages.trl_options import (
    BY_CHOICES,
    RL,
    VALIDATION,
    Dapo,
    OnPolicy,
    check_checkpoints,
    check_choices,
    refuse_changed,
)
from gr2.terminal import warn

WRITES = ("training_log.jsonl",)
LEAST_GROUP = 8  # answers a slate; GR2's own group size (2607.01170)


@dataclass(kw_only=True)
class Config(
    SlateOptions,
    SemanticIdOptions,
    PromptOptions,
    OnPolicy,
    Dapo,
    TrackerOptions,
    HubOptions,
    PrecisionDefault,
    GRPOConfig,
):
    model_name_or_path: str = arg(help="the model after `gr2 sft`", path=True)
    reward: Literal["gr2_conditional", "gr2_naive", "auc", "ndcg"] = arg(
        "gr2_conditional", "gr2_conditional: one target. auc, ndcg: several relevant items. gr2_naive: to see it hacked"
    )
    alpha: float = arg(0.2, "bonus for a promoted target (gr2_naive: for any valid answer; GR2: 0.2)", least=0)
    overlong_cache: int = arg(0, "DAPO's penalty on the last N tokens of max_completion_length; 0: none", least=0)
    dynamic_sampling: bool = arg(False, "replace groups whose answers all earn the same, by other slates (DAPO)")
    max_resamples: int = arg(8, "dynamic_sampling: retries per batch", least=1)
    structured: bool = arg(False, "answer by choices among the slate's candidates: faster, and no answer is unusable")
    eval_slates: int = arg(
        0,
        "answer this many valid slates, drawn at random, every eval_steps, and write the best checkpoint: turns on "
        "eval_strategy steps and load_best_model_at_end, sets save_steps to eval_steps. 0: the last model is written",
        least=0,
    )
    # TRL's sequence_mask gives an answer weight 0 once the product of its token ratios exceeds 3, as happens with long
    # answers, while its tokens still count in DAPO's mean, so long traces would silently not be learned.
    vllm_importance_sampling_mode: Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"] = arg(
        "token_truncate", "use_vllm: how the ratio of the trainer's to vLLM's probabilities is bounded"
    )

    def __post_init__(self) -> None:
        refuse_changed(self, RL | (BY_CHOICES if self.structured else {}))
        check_choices(self)
        longest, functions = self.max_completion_length, 2 if self.overlong_cache else 1
        if self.overlong_cache >= longest:
            raise InputError(f"--overlong_cache {self.overlong_cache}: expected below max_completion_length, {longest}")
        if self.reward_weights is not None and len(self.reward_weights) != functions:
            given = " ".join(map(str, self.reward_weights))
            needed = f"{functions}, for the ranking reward and, with overlong_cache, the penalty for length"
            raise InputError(f"--reward_weights {given}: expected {needed}")
        if self.sync_ref_model and not self.beta:
            raise InputError("--sync_ref_model true: expected beta above 0; without it there is no reference model")
        if self.eval_slates:
            self.save_where_validated()
        elif self.eval_strategy != "no" or self.load_best_model_at_end:
            raise InputError("--eval_slates 0: expected 1 or more, which eval_strategy and load_best_model_at_end need")
        super().__post_init__()
        check_checkpoints(self)

    def save_where_validated(self) -> None:
        """Turns on TRL's options for the best checkpoint; InputError where one of them says something else."""
        from gr2.rl.validation import METRIC

        for name, allowed in {"eval_strategy": ("no", "steps"), "save_strategy": ("steps",)}.items():
            if vars(self)[name] not in allowed:
                raise InputError(f"--{name} {vars(self)[name]}: expected steps; {VALIDATION}")
        steps = self.eval_steps or self.save_steps
        self.eval_strategy, self.eval_steps, self.save_steps, self.num_generations_eval = "steps", steps, steps, 1
        self.load_best_model_at_end, self.metric_for_best_model, self.greater_is_better = True, METRIC, True


def run(config: Config) -> None:
    """Reads the model, the slates and the tables; writes the model, the IDs it was taught and training_log.jsonl.

    Prints which slates are left out, what blind orders would earn and, with eval_slates, which step is written.
    """
    from datasets import Dataset

    from gr2.language_model.id_record import check_taught, copy_id_record
    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.prompts.answer import parse
    from gr2.prompts.checks import check_answer, check_room
    from gr2.prompts.prompt import load_prompt
    from gr2.rl.examples import build_rows, check_context, refuse_partial_batch, select_rewarded
    from gr2.rl.rewards import reward_functions
    from gr2.rl.trainer import RerankingTrainer, refuse_unlearned
    from gr2.rl.validation import describe_choice
    from gr2.training import train

    # read
    prompt = load_prompt(config.prompt)
    catalogue = read_catalogue(config.items, config.semantic_ids)
    tokenizer = load_tokenizer(config.model_name_or_path)
    known_ids = check_taught(config.model_name_or_path, tokenizer, catalogue, config.semantic_ids)
    catalogue = catalogue.safe_for(tokenizer, prompt.title_tokens)
    frame = read_slate_table(config.slates, catalogue.item_ids)

    # examples
    all_train = slates_of(frame.filter(pl.col("split") == "train"))
    rewarded = select_rewarded(all_train, config.reward, config.slates)
    train_slates = sample_slates(rewarded, config.max_slates, config.seed)
    batch = config.generation_batch_size // config.num_generations
    product = "per_device_train_batch_size x processes x steps_per_generation / num_generations"
    refuse_partial_batch(len(train_slates), batch, config.slates, product)
    valid_slates = []
    if config.eval_slates:
        relevant = [slate for slate in slates_of(frame.filter(pl.col("split") == "valid")) if slate.relevant]
        if not relevant:
            raise InputError(f"--eval_slates: expected valid slates with a relevant candidate in {config.slates}")
        valid_slates = sample_slates(relevant, config.eval_slates, config.seed)
    build = partial(build_rows, prompt, catalogue, tokenizer, config.max_prompt_tokens)
    train_rows = build(train_slates, shuffle_seed=config.seed if config.shuffle_candidates else None)
    valid_rows = build(valid_slates) if valid_slates else []
    print(f"{len(train_rows)} slates, {config.num_generations} answers each, reward {config.reward}", flush=True)
    foresee(config, train_slates)
    check_answer(config.model_name_or_path, tokenizer, prompt, all_train[0], catalogue)
    longest = config.max_completion_length
    check_room(train_slates + valid_slates, catalogue, prompt, tokenizer, longest, "max_completion_length")

    # model
    model = load_model(config.model_name_or_path)
    check_context(train_rows + valid_rows, tokenizer, longest, model.config.max_position_embeddings)

    # trainer
    read = partial(parse, sids=catalogue.sid, has_trace=prompt.has_trace)
    known = set(tokenizer.get_vocab().values())
    trainer = RerankingTrainer(
        model=model,
        reward_funcs=reward_functions(config.reward, config.alpha, read, known, longest, config.overlong_cache),
        args=config,
        train_dataset=Dataset.from_list(train_rows),
        eval_dataset=Dataset.from_list(valid_rows) if valid_rows else None,
        processing_class=tokenizer,
        read=read,
        structured=config.structured,
        max_resamples=config.max_resamples if config.dynamic_sampling else 0,
    )

    # write
    train(trainer, refuse_unlearned)
    copy_id_record(trainer, known_ids)
    if valid_rows and trainer.is_world_process_zero():
        print(describe_choice(trainer.state), flush=True)


def foresee(config: Config, slates: list[Slate]) -> None:
    """Prints what the reward pays for blind orders; warns where one is a hack, of small groups and of no validation."""
    from gr2.rl.blind_orders import describe, find_hack, mean_rewards
    from gr2.rl.rewards import REWARDS

    means = mean_rewards(REWARDS[config.reward], slates, config.alpha)
    print(describe(means), flush=True)
    if blind := find_hack(means):
        hack = f"{blind} pays more than a copy of these slates' order and can be learned without looking at a user"
        warn(f"reward {config.reward}: {hack} (a smaller alpha or another reward may not pay for it)")
    if config.num_generations < LEAST_GROUP:
        warn(f"num_generations {config.num_generations}: groups below {LEAST_GROUP} give noisy advantages")
    if not config.eval_slates:
        warn("eval_slates 0: nothing is validated; the last model is written, even if it is worse than the first")
