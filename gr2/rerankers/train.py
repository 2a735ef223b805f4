"""What the trainings of small networks share: examples as a data set, and a Trainer that keeps the best epoch."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback, PreTrainedModel, Trainer, TrainingArguments

from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.rerankers.settings import Training
from gr2.training import find_last_checkpoint, train


class Examples(Dataset):
    """A list that the training's collator reads."""

    def __init__(self, examples: Sequence[Any]):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Any:
        return self.examples[index]


def train_best(
    model: PreTrainedModel,
    train_set: Examples,
    valid_set: Examples,
    training: Training,
    metric: str,
    trainer_class: type[Trainer] = Trainer,
    label_names: list[str] | None = None,
    **others: Any,
) -> None:
    """Trains and evaluates every epoch; writes the epoch that is best on `valid_set` by `metric` (larger is better).

    The metric is the predictions' mean unless `compute_metrics` is among the `others`, which go to the trainer.
    InputError where the training diverges.
    """
    print(f"{model.num_parameters():,} parameters, {len(train_set)} train slates, {len(valid_set)} valid", flush=True)
    others = {
        "train_dataset": train_set,
        "eval_dataset": valid_set,
        "callbacks": [Stopping(training.patience)],
        "compute_metrics": lambda prediction: {metric: float(prediction.predictions.mean())},
    } | others
    train(trainer_class(model, make_arguments(training, metric, label_names), **others))


class Stopping(EarlyStoppingCallback):
    """Stops a training that no longer gets better, and refuses one whose weights are no longer numbers."""

    def on_evaluate(self, args, state, control, metrics, model, **others) -> None:
        super().on_evaluate(args, state, control, metrics, **others)
        if not all(parameter.isfinite().all() for parameter in model.parameters()):
            for folder in Path(args.output_dir).glob("checkpoint-*"):
                shutil.rmtree(folder)
            raise InputError(f"after epoch {state.epoch:.0f} the weights are not finite; expected a smaller "
                             f"--learning_rate than {args.learning_rate}, or smaller labels")  # fmt: skip


class OneDevice(TrainingArguments):
    """One GPU where there are several: the networks are tiny, and nn.DataParallel would hide their methods."""

    @property
    def n_gpu(self) -> int:
        return min(1, super().n_gpu)


def epochs_to_train(training: Training) -> int:
    """`epochs`, but no more than were trained where an interrupted run has already lost its patience."""
    checkpoint = find_last_checkpoint(training.output_dir)
    if not checkpoint:
        return training.epochs
    state = read_json(Path(checkpoint) / "trainer_state.json")
    waited = state["stateful_callbacks"]["Stopping"]["attributes"]["early_stopping_patience_counter"]
    return round(state["epoch"]) if waited >= training.patience else training.epochs


def make_arguments(training: Training, metric: str, label_names: list[str] | None) -> TrainingArguments:
    return OneDevice(
        output_dir=training.output_dir,
        seed=training.seed,
        num_train_epochs=epochs_to_train(training),
        learning_rate=training.learning_rate,
        lr_scheduler_type="constant",
        per_device_train_batch_size=training.batch_size,
        per_device_eval_batch_size=256,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,  # restores the early-stopping counter on resume
        remove_unused_columns=False,
        report_to="none",
        label_names=label_names,
    )
