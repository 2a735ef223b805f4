"""What the trainings of small rerankers share: slates as a data set, and a Trainer that keeps the best epoch."""

import shutil
from pathlib import Path

from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback, PreTrainedModel, Trainer, TrainingArguments

from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.files.slates import Slate
from gr2.stages.fit import Config
from gr2.training import last_checkpoint, train


class Slates(Dataset):
    """Slates in any form that the training's collator reads."""

    def __init__(self, slates: list[Slate]):
        self.slates = slates

    def __len__(self) -> int:
        return len(self.slates)

    def __getitem__(self, index: int) -> dict:
        return self.slates[index]


def keep_best(
    model: PreTrainedModel, learned: Slates, judged: Slates, config: Config, metric: str,
    trainer_class: type[Trainer] = Trainer, label_names: list[str] | None = None, **others,
) -> None:  # fmt: skip
    """Trains on `learned`; of its epochs the one that is best on `judged` by `metric` (larger is better) is written.

    Stops after `config.patience` epochs without a better one. `others` go to the trainer. InputError where the training
    diverges.
    """
    print(
        f"{model.num_parameters():,} parameters, {len(learned)} slates to learn, {len(judged)} to judge by", flush=True
    )
    options = arguments(config, metric, label_names)
    train(trainer_class(model, options, train_dataset=learned, eval_dataset=judged,
                        callbacks=[Stopping(config.patience)], **others))  # fmt: skip


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


def epochs_to_train(config: Config) -> int:
    """`config.epochs`, but no more than were trained where an interrupted run has already lost its patience."""
    checkpoint = last_checkpoint(config.output_dir)
    if not checkpoint:
        return config.epochs
    state = read_json(Path(checkpoint) / "trainer_state.json")
    waited = state["stateful_callbacks"]["Stopping"]["attributes"]["early_stopping_patience_counter"]
    return round(state["epoch"]) if waited >= config.patience else config.epochs


def arguments(config: Config, metric: str, label_names: list[str] | None) -> TrainingArguments:
    """An evaluation an epoch; the epoch that is best by `metric` is what is kept."""
    return OneDevice(
        output_dir=config.output_dir,
        seed=config.seed,
        num_train_epochs=epochs_to_train(config),
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=256,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,  # a killed training is as patient as a whole one
        remove_unused_columns=False,
        report_to="none",
        label_names=label_names,
    )
