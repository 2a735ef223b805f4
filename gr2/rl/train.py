"""gr2 rl: slates + a model -> the same model after DAPO-style reinforcement learning.

TRL's GRPOTrainer with DAPO's settings (2503.14476): clip-higher, token-level mean, no KL; the reward is one of
gr2/rl/rewards.py. Every option of TRL's GRPOConfig is an option here.
"""

import json
import warnings
from dataclasses import dataclass

import torch
from trl import GRPOConfig

from gr2.config import arg
from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.data.tables import read_slates
from gr2.errors import InputError

LEAST_GROUP = 8  # answers a slate; GR2's own group size (2607.01170)


@dataclass(kw_only=True)
class Config(GRPOConfig):
    items: str = arg(help="items.parquet")
    semantic_ids: str = arg(help="semantic_ids.parquet")
    slates: str = arg(help="slates.parquet; its train split is learned")
    model_name_or_path: str = arg(help="the model after `gr2 sft`")
    prompt: str = arg("prompts/student.yaml", "the same prompt file as in sft and rerank")
    reward: str = arg("gr2_conditional", "gr2_conditional, or gr2_naive to watch it being hacked")
    alpha: float = arg(0.2, "weight of the format reward (GR2: 0.2)")
    structured: bool = arg(False, "decode rollouts under the answer's grammar, for models that cannot yet copy IDs")
    max_slates: int | None = arg(None, "learn from at most so many slates")
    epsilon_high: float = arg(0.28, "DAPO's clip-higher; the lower bound is epsilon, 0.2")
    mask_truncated_completions: bool = arg(False, "an answer that is cut off is invalid, and counts")
    report_to: str = arg("none", "trackers: tensorboard, trackio, wandb, none")

    def __post_init__(self) -> None:
        if self.bf16 is None and not torch.accelerator.is_available():
            self.bf16 = False  # TRL would set it, and transformers then refuse
        super().__post_init__()


def run(config: Config) -> None:
    from datasets import Dataset
    from trl import GRPOTrainer

    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.prompts import load_prompt
    from gr2.rl.rewards import REWARDS
    from gr2.rl.structured import StructuredGRPOTrainer
    from gr2.training import train

    if config.reward not in REWARDS:
        raise InputError(f"reward '{config.reward}': expected one of {', '.join(REWARDS)}")
    if config.structured and config.use_vllm:
        raise InputError("structured: expected use_vllm false; TRL's vLLM takes no grammar of each slate's own")
    prompt = load_prompt(config.prompt)
    catalogue = read_catalogue(config.items, config.semantic_ids)
    rows = slate_rows(config, catalogue, prompt)
    print(f"{len(rows)} slates, {config.num_generations} answers each, reward {config.reward}", flush=True)
    if config.num_generations < LEAST_GROUP:
        warnings.warn(
            f"num_generations {config.num_generations}: groups below {LEAST_GROUP} give noisy advantages", stacklevel=2
        )
    trainer_class = StructuredGRPOTrainer if config.structured else GRPOTrainer
    trainer = trainer_class(
        model=load_model(config.model_name_or_path),
        reward_funcs=reward_function(config, catalogue, prompt.has_trace),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(config.model_name_or_path),
    )
    train(trainer)


def slate_rows(config: Config, catalogue: Catalogue, prompt) -> list[dict]:
    """The train slates with a relevant candidate, as rows with the chat prompt, the answer's schema (JSON text) and what
    the reward needs, by name.
    """
    from gr2.prompts import answer_schema, render

    slates = read_slates(config.slates, catalogue.item_ids)
    train_slates = [
        slate for slate in slates.iter_rows(named=True) if slate["split"] == "train" and any(slate["labels"])
    ]
    if not train_slates:
        raise InputError(f"{config.slates}: no train slate has a relevant candidate")
    return [
        {
            "prompt": render(prompt, slate, catalogue),
            "schema": json.dumps(answer_schema(prompt, slate, catalogue)),
            **{name: slate[name] for name in ("slate_id", "candidates", "labels")},
        }
        for slate in train_slates[: config.max_slates]
    ]


def reward_function(config: Config, catalogue: Catalogue, has_trace: bool):
    """TRL's form of a reward: parses each completion, logs the diagnostics, returns one float per completion."""
    from gr2.prompts import parse
    from gr2.rl.diagnostics import diagnose
    from gr2.rl.rewards import REWARDS

    reward = REWARDS[config.reward]

    def ranking_reward(completions, candidates, labels, log_metric, **_) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        answers = [parse(text, given, catalogue.sid, has_trace) for text, given in zip(texts, candidates, strict=True)]
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

    return ranking_reward
