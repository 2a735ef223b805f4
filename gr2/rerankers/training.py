"""What the trainings of small rerankers share: slates as a data set, and Trainer's options."""

from torch.utils.data import Dataset
from transformers import TrainingArguments

from gr2.rerankers.fit import Config


class Slates(Dataset):
    """Slates in any form that the training's collator reads."""

    def __init__(self, slates: list[dict]):
        self.slates = slates

    def __len__(self) -> int:
        return len(self.slates)

    def __getitem__(self, index: int) -> dict:
        return self.slates[index]


def arguments(config: Config, metric: str, **others) -> TrainingArguments:
    """An evaluation an epoch; the epoch that is best by `metric` (larger is better) is what is kept."""
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
        **others,
    )
