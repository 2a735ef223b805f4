"""gr2 sasrec: interactions -> a SASRec pre-ranker's folder.

Trains on the pretrain events with cross-entropy over the whole catalogue, and keeps the epoch with the best NDCG@10
over all items at the last pretrain event of up to 2,000 users drawn at random. Those events are not trained on; no
later event is read. Every option of transformers' TrainingArguments is an option here.
"""

from dataclasses import dataclass

from transformers import EarlyStoppingCallback, Trainer, TrainingArguments, set_seed

from gr2.errors import InputError
from gr2.files.items import order_digest
from gr2.options.declare import arg
from gr2.retrieval.positions import read_events
from gr2.retrieval.sasrec import SASRec, SASRecConfig
from gr2.retrieval.sasrec_train import collate, make_rows, measure
from gr2.stages.shared import TrackerOptions
from gr2.training import train

VALID_USERS = 2000  # enough to choose an epoch; their last events are not trained on, so that more would cost
WRITES = ("config.json", "model.safetensors")


@dataclass(kw_only=True)
class ByEpoch(TrainingArguments):
    """transformers' own options with other defaults: evaluate and save every epoch, keep the best."""

    eval_strategy: str = arg("epoch", "when to evaluate; as save_strategy")
    save_strategy: str = arg("epoch", "when to save; a killed training resumes from there")
    save_total_limit: int = arg(2, "checkpoints kept", least=1)
    load_best_model_at_end: bool = arg(True, "keep the best epoch's model")
    metric_for_best_model: str = arg("ndcg@10", "the metric that decides")
    greater_is_better: bool = arg(True, "whether more of it is better")
    logging_strategy: str = arg("epoch", "when to log the loss")
    restore_callback_states_from_checkpoint: bool = arg(
        True, "a resumed training keeps its count of epochs for --patience"
    )


@dataclass(kw_only=True)
class Config(TrackerOptions, ByEpoch):
    items: str = arg(help="items.parquet", path="items.parquet")
    interactions: str = arg(
        help="interactions.parquet of `gr2 prepare`; only its pretrain events are read", path="interactions.parquet"
    )
    hidden_size: int = arg(64, "width, a multiple of `heads`", least=1)
    layers: int = arg(2, "layers", least=1)
    heads: int = arg(2, "attention heads", least=1)
    dropout: float = arg(0.5, "dropout of embeddings and layers", least=0, below=1)
    length: int = arg(50, "read the latest LENGTH items; longer histories are cut into stretches to train on", least=1)
    exclude_seen: bool = arg(True, "evaluate it as a ranker that lists no item of the past; as for `gr2 slates`")
    patience: int = arg(5, "stop after PATIENCE epochs without a better validation NDCG@10", least=1)
    num_train_epochs: float = arg(60.0, "largest number of epochs", above=0)
    per_device_train_batch_size: int = arg(48, "rows per batch, each of up to `length` items of several users", least=1)
    per_device_eval_batch_size: int = arg(512, "users per batch when evaluating an epoch", least=1)
    learning_rate: float = arg(1e-3, "Adam's", least=0)
    lr_scheduler_type: str = arg("constant", "schedule of the learning rate")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size % self.heads:
            raise InputError(f"--hidden_size {self.hidden_size}: expected a multiple of --heads, {self.heads}")


def run(config: Config) -> None:
    """Reads items and interactions; writes the model's folder; prints the number of parameters and examples."""
    set_seed(config.seed)
    # read
    log = read_events(config.items, config.interactions)
    # examples
    rows, valid_rows = make_rows(log.events, config.length, VALID_USERS, config.seed)
    if not len(valid_rows):
        reason = "the last one chooses the epoch"
        raise InputError(f"{config.interactions}: expected users with three pretrain events: {reason}")
    # model
    shape = (config.hidden_size, config.layers, config.heads, config.dropout, config.length)
    model = SASRec(SASRecConfig(len(log.item_ids), *shape, order_digest(log.item_ids), config.exclude_seen))
    examples = f"{len(rows)} rows to train on, {len(valid_rows)} users to validate on"
    print(f"{model.num_parameters():,} parameters, {examples}", flush=True)
    # trainer
    trainer = Trainer(
        model,
        config,
        train_dataset=rows,
        eval_dataset=valid_rows,
        data_collator=collate,
        compute_metrics=measure,
        callbacks=[EarlyStoppingCallback(config.patience)],
    )
    # write
    train(trainer)
