"""The best checkpoint by NDCG@5 on validation slates, chosen while training; the model before RL is a candidate too."""

from pathlib import Path

import numpy as np
from accelerate.utils import gather_object
from transformers import Trainer, TrainerCallback, TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from gr2.arrays import pad
from gr2.files.slates import Slate
from gr2.metrics import ndcg
from gr2.rl.choices import answer_by_choices
from gr2.rl.decoding import decode, greedy
from gr2.rl.rewards import ReadAnswer

METRIC = "ndcg@5"  # transformers logs it as eval_ndcg@5
K = 5


class Validation(TrainerCallback):
    """A RerankingTrainer's greedy answers to `eval_dataset`; an unusable one keeps the input order, as in rerank."""

    def __init__(self, trainer: Trainer, read: ReadAnswer):
        self.trainer, self.read = trainer, read

    def on_train_begin(self, args, state, control, **_) -> None:
        """Evaluates the model before RL and keeps it as checkpoint-0: it is written where no step is better."""
        if state.best_metric is not None:  # resumed
            return
        state.best_metric, state.best_global_step = self.trainer.evaluate()[f"eval_{METRIC}"], 0
        state.best_model_checkpoint = str(Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-0")
        self.trainer._save_checkpoint(self.trainer.model, None)
        if self.trainer.is_fsdp_enabled:  # torch has made a step without gradients, to have a state of Adam's to save
            self.trainer.optimizer.state.clear()

    def measure(self) -> dict[str, float]:
        """NDCG@5 of answers and input order, and the share of usable answers. Every process has to take part."""
        rows = self.trainer.eval_dataset.to_list()
        accelerator = self.trainer.accelerator
        share = take_equal_share(rows, accelerator.process_index, accelerator.num_processes)
        scores = gather_object(self.score(share))[: len(rows)]
        answered, given, valid = np.mean(scores, axis=0).tolist()
        return {f"eval_{METRIC}": answered, f"eval_input_{METRIC}": given, "eval_valid": valid}

    def score(self, rows: list[dict]) -> list[tuple[float, float, float]]:
        """For each row NDCG@5 of the answer, of the input order, and whether the answer is usable."""
        scores, tokenizer, size = [], self.trainer.processing_class, self.trainer.args.per_device_eval_batch_size
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            if self.trainer.structured:
                _, structured = answer_by_choices(
                    self.trainer, batch, greedy(self.trainer), temperature=0, groups=False
                )
                answers = [answer.tokens for answer in structured]
            else:
                answers = decode(self.trainer, [row["prompt"] for row in batch], greedy(self.trainer))
            texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
            for row, text in zip(batch, texts, strict=True):
                slate = Slate(row["slate_id"], [], row["candidates"], row["labels"])
                ranking = self.read(text, slate.candidates).ranking
                values = ndcg_of(slate, [ranking or slate.candidates, slate.candidates])
                scores.append((*values, float(ranking is not None)))
        return scores


def take_equal_share(rows: list[dict], process: int, processes: int) -> list[dict]:
    """As many rows on every process, the first ones again where they run out: all have to call `generate` as often."""
    share = -(-len(rows) // processes)
    return [rows[index % len(rows)] for index in range(process * share, (process + 1) * share)]


def ndcg_of(slate: Slate, orders: list[list[str]]) -> list[float]:
    """NDCG@5 of several orders of a slate's candidates."""
    return ndcg(pad([[slate.grades[item] for item in order] for order in orders], np.nan), K).tolist()


def describe_choice(state: TrainerState) -> str:
    """One sentence on the checkpoint that was chosen, for the terminal. `state` is the one after training."""
    entries = {entry["step"]: entry for entry in state.log_history if f"eval_{METRIC}" in entry}
    best = f"{METRIC} {state.best_metric:.4f} on validation (input order {entries[0][f'eval_input_{METRIC}']:.4f})"
    if state.best_global_step == 0:
        return f"no step was better than the model before RL, {best}: that model is written, unchanged"
    return f"step {state.best_global_step} is written: {best}, before RL {entries[0][f'eval_{METRIC}']:.4f}"
