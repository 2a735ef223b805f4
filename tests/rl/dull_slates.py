"""A trainer on slates some of which are dull: whatever is answered, it earns nothing."""

import json
from pathlib import Path

from datasets import Dataset
from trl import GRPOConfig

from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.rl.trainer import RerankingTrainer

GROUP, ROWS = 4, 6  # a process holds one group and a half


class Recorded(RerankingTrainer):
    """Keeps what each batch became."""

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        batch = super()._generate_and_score_completions(inputs)
        record = {
            "slates": [row["slate_id"] for row in self.batch.rows],
            "first": [row["slate_id"] for row in inputs],
            "prompts": self.processing_class.batch_decode(batch["prompt_ids"], skip_special_tokens=True),
            "earned": (batch["completion_ids"] * batch["completion_mask"]).sum(1).tolist(),
            "rewards": self.batch.rewards[:, 0].tolist(),
            "advantages": batch["advantages"].tolist(),
            "tokens": batch["num_items_in_batch"].item(),
            "lengths": batch["completion_mask"].sum(1).tolist(),
        }
        self.seen.append(record)
        return batch


def dull_trainer(
    folder: Path,
    lively: int,
    slates: int = 24,
    max_resamples: int = 8,
    dull: float = 0.0,
    penalised: bool = True,
    **options,
) -> Recorded:
    """The first `lively` of the slates earn the sum of their answer's tokens, the others `dull`; all of them less a
    penalty for length that has spread everywhere.
    """
    names = [f"s{number:02d}" for number in range(slates)]
    chats = [[{"role": "user", "content": name}] for name in names]
    data = {"prompt": chats, "slate_id": names, "lively": [number < lively for number in range(slates)]}

    def earned(completion_ids, lively, log_metric, **_):
        log_metric("lively_share", sum(lively) / len(lively))
        return [float(sum(ids)) if here else dull for ids, here in zip(completion_ids, lively, strict=True)]

    def penalty(completion_ids, **_):
        return [-float(sum(ids)) / 1000 for ids in completion_ids]

    tokenizer = train_tokenizer(["s01 s23"], 280)
    common = {"per_device_train_batch_size": ROWS, "num_generations": GROUP, "max_completion_length": 8, "max_steps": 3}
    common |= {"logging_steps": 1, "save_strategy": "no", "bf16": False, "report_to": "none", "disable_tqdm": True}
    args = GRPOConfig(str(folder), **common | options, gradient_checkpointing=False, seed=0)
    rewards = [earned, penalty] if penalised else [earned]
    model, rows = small_model(tokenizer, 16, 1, 2, 64, seed=0), Dataset.from_dict(data)
    trainer = Recorded(model, rewards, args, rows, processing_class=tokenizer, max_resamples=max_resamples)
    trainer.seen = []
    return trainer


def train_in_one_of_several(folder: Path) -> None:
    """One process of several; writes what it saw to `seen-RANK.json`."""
    trainer = dull_trainer(folder, lively=12)
    trainer.train()
    rank = trainer.accelerator.process_index
    log = [entry for entry in trainer.state.log_history if "resamples" in entry]
    told = {"processes": trainer.accelerator.num_processes, "seen": trainer.seen, "log": log}
    (folder / f"seen-{rank}.json").write_text(json.dumps(told))
