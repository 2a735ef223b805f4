"""The best checkpoint by NDCG@5 on validation slates, chosen while training; the model before RL is a candidate too."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from accelerate.utils import gather_object
from transformers import LogitsProcessor, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from gr2.metrics import ndcg, pad
from gr2.prompts.answer import Answer
from gr2.rl.decoding import decode, greedy
from gr2.rl.dynamic_sampling import DynamicSamplingTrainer

METRIC = "ndcg@5"  # transformers logs it as eval_ndcg@5
K = 5
Read = Callable[[str, list[str]], Answer]  # a completion and its slate's candidates -> the answer


class ValidatedTrainer(DynamicSamplingTrainer):
    """Answers `eval_dataset` greedily at each evaluation; an unusable answer leaves the input order, as in `gr2 rerank`.

    Logs `eval_ndcg@5`, the input order's as `eval_input_ndcg@5`, and the share of usable answers `eval_valid`.
    """

    def __init__(self, *args, read: Read, **kwargs):
        super().__init__(*args, **kwargs)
        self.read = read
        if self.eval_dataset is not None:
            self.add_callback(BeforeTraining(self))

    def grammars(self, rows: list[dict]) -> list[LogitsProcessor]:
        """What the rows' answers are decoded under."""
        return []

    def evaluate(self, *_, **__) -> dict[str, float]:
        self.model.eval()
        rows = self.eval_dataset.to_list()
        values = gather_object(self._judged(self._share(rows)))[: len(rows)]
        here, given, valid = np.mean(values, axis=0).tolist()
        metrics = {f"eval_{METRIC}": here, f"eval_input_{METRIC}": given, "eval_valid": valid}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.model.train()
        return metrics

    def _share(self, rows: list[dict]) -> list[dict]:
        """As many rows on every process, from the first again where they run out: all have to call `generate` as often."""
        share = -(-len(rows) // self.accelerator.num_processes)
        first = self.accelerator.process_index * share
        return [rows[number % len(rows)] for number in range(first, first + share)]

    def _judged(self, rows: list[dict]) -> list[tuple[float, float, float]]:
        """For each row NDCG@5 of the answer, of the input order, and whether the answer is usable."""
        judged, size = [], self.args.per_device_eval_batch_size
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            prompt_ids, *_ = self._tokenize_prompts([row["prompt"] for row in batch])
            answers = decode(self, prompt_ids, greedy(self), self.grammars(batch))
            texts = self.processing_class.batch_decode(answers, skip_special_tokens=True)
            for row, text in zip(batch, texts, strict=True):
                ranking = self.read(text, row["candidates"]).ranking
                orders = ranking or row["candidates"], row["candidates"]
                judged.append((*ndcg_of(row, orders), float(ranking is not None)))
        return judged


class BeforeTraining(TrainerCallback):
    """Evaluates the model that RL starts from and keeps it as checkpoint-0: where no step is better, it is what is written."""

    def __init__(self, trainer: ValidatedTrainer):
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **_) -> None:
        if state.best_metric is not None:  # resumed
            return
        self.trainer._determine_best_metric(self.trainer.evaluate(), None)
        state.best_model_checkpoint = str(Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-0")
        self.trainer._save_checkpoint(self.trainer.model, None)


def ndcg_of(row: dict, orders: tuple[list[str], ...]) -> list[float]:
    """NDCG@5 of several orders of a row's candidates."""
    labels = dict(zip(row["candidates"], row["labels"], strict=True))
    return ndcg(pad([[labels[item] for item in order] for order in orders], np.nan), K).tolist()


def chosen(state) -> str:
    """One sentence on the checkpoint that was chosen, for the terminal. `state` is the TrainerState after training."""
    entries = {entry["step"]: entry for entry in state.log_history if f"eval_{METRIC}" in entry}
    best = f"{METRIC} {state.best_metric:.4f} on validation (input order {entries[0][f'eval_input_{METRIC}']:.4f})"
    if state.best_global_step == 0:
        return f"no step was better than the model before RL, {best}: that model is written, unchanged"
    return f"step {state.best_global_step} is written: {best}, before RL {entries[0][f'eval_{METRIC}']:.4f}"
