"""What the trainings of small rerankers share: slates as a data set, and a Trainer that keeps the best epoch."""

from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback, PreTrainedModel, Trainer, TrainingArguments

from gr2.rerankers.fit import Config
from gr2.training import train


class Slates(Dataset):
    """Slates in any form that the training's collator reads."""

    def __init__(self, slates: list[dict]):
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

    Stops after `config.patience` epochs without a better one. `others` go to the trainer.
    """
    print(
        f"{model.num_parameters():,} parameters, {len(learned)} slates to learn, {len(judged)} to judge by", flush=True
    )
    options = arguments(config, metric, label_names)
    train(trainer_class(model, options, train_dataset=learned, eval_dataset=judged,
                        callbacks=[EarlyStoppingCallback(config.patience)], **others))  # fmt: skip


def arguments(config: Config, metric: str, label_names: list[str] | None) -> TrainingArguments:
    """An evaluation an epoch; the epoch that is best by `metric` is what is kept."""
    return TrainingArguments(
        output_dir=config.output_dir,
        seed=config.seed,
        num_train_epochs=config.epochs,
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
