"""gr2 sft: accepted traces + a model -> a model that reasons and reranks.

TRL's SFTTrainer on prompt and completion; only the completion counts in the loss, its reasoning with less weight than
its ranking. The prompt is the student's, whatever prompt the teacher saw. Every option of TRL's SFTConfig is an option
here.
"""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trl import SFTConfig

from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.errors import InputError
from gr2.options.declare import arg
from gr2.prompts.prompt import load_prompt
from gr2.stages.shared import (
    HubOptions,
    LoraOptions,
    PrecisionDefault,
    PromptOptions,
    SemanticIdOptions,
    SlateOptions,
    TrackerOptions,
)

if TYPE_CHECKING:
    from gr2.sft.examples import Example

WRITES = ()  # a model: later stages name its folder


@dataclass(kw_only=True)
class Config(
    SlateOptions, SemanticIdOptions, PromptOptions, LoraOptions, TrackerOptions, HubOptions, PrecisionDefault, SFTConfig
):
    traces: list[str] = arg(
        [],
        "traces.jsonl files; a slate's first accepted trace is used. None: the teacher's orders",
        path="traces.jsonl",
    )
    teacher: str | None = arg(
        None,
        "rankings.parquet of the train slates, from a reranker that gives scores: learn its probabilities at every "
        "choice of a list. Rerank the result with --order choices or first",
        path="rankings.parquet",
        named=True,
    )
    teacher_temperature: float = arg(1.0, "teacher: temperature T of softmax(scores / T)", above=0)
    teacher_weight: float = arg(
        0.5, "teacher: its weight on slates with labels; the labels get the rest", least=0, most=1
    )
    model_name_or_path: str = arg(help="the mid-trained model", path=True)
    shuffle_candidates: bool = arg(False, "show each slate's candidates in a new order in every epoch")
    lambda_reasoning: float = arg(0.3, "weight of the explanation's tokens, relative to lambda_ranking", least=0)
    lambda_ranking: float = arg(1.0, "weight of the answer's other tokens", least=0)

    def __post_init__(self) -> None:
        if not self.traces and not self.teacher:
            raise InputError("--traces: expected traces.jsonl files, or --teacher")
        if not self.traces and load_prompt(self.prompt).has_trace:
            raise InputError(f"--prompt {self.prompt}: it asks for an explanation: expected --traces that have some")
        if self.teacher and (self.packing or self.padding_free):
            raise InputError("--packing, --padding_free: expected false with --teacher")
        if self.teacher and not self.lambda_ranking:
            raise InputError("--lambda_ranking 0: expected a number above 0 with --teacher")
        if not self.lambda_reasoning and not self.lambda_ranking:
            raise InputError("--lambda_ranking 0: expected a number above 0, or --lambda_reasoning above 0")
        if self.loss_type != "nll":
            raise InputError(f"--loss_type {self.loss_type}: expected nll; the lambdas weight tokens")
        if self.label_smoothing_factor:
            found = f"--label_smoothing_factor {self.label_smoothing_factor}"
            raise InputError(f"{found}: expected 0; the lambdas weight tokens")
        if self.packing and self.packing_strategy != "bfd":
            raise InputError(f"--packing_strategy {self.packing_strategy}: expected bfd, which cuts no example")
        if self.packing and self.max_length is None:
            raise InputError("--packing true: expected --max_length, the tokens of a block")
        if self.shuffle_candidates and (self.num_train_epochs < 1 or self.num_train_epochs % 1):
            found = f"--num_train_epochs {self.num_train_epochs}"
            raise InputError(f"{found}: expected a whole number to shuffle candidates")
        super().__post_init__()


def run(config: Config) -> None:
    """Reads slates, traces and a model; writes the trained model, `semantic_ids.json` and `training_log.jsonl`.

    Prints how many slates have an accepted trace, what is left out, and how long the examples are.
    """
    from transformers import set_seed
    from trl import pack_dataset

    from gr2.language_model.id_record import check_taught, copy_id_record
    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.language_model.new_codes import start_new_codes
    from gr2.language_model.separation import refuse_mixing
    from gr2.language_model.trainable import add_lora, id_tokens
    from gr2.prompts.checks import check_answer
    from gr2.sft import encoding, examples
    from gr2.sft.choice_loss import ChoiceCollator, ChoiceTrainer
    from gr2.sft.weighting import Collator, WeightedSFTTrainer
    from gr2.training import train, warn_if_nothing_was_learned

    set_seed(config.seed)

    # read
    catalogue = read_catalogue(config.items, config.semantic_ids)
    tokenizer = load_tokenizer(config.model_name_or_path)
    known_ids = check_taught(config.model_name_or_path, tokenizer, catalogue, config.semantic_ids)
    prompt = load_prompt(config.prompt)
    catalogue = catalogue.safe_for(tokenizer, prompt.title_tokens)
    rows = read_rows(config, catalogue, prompt.has_trace)

    # examples
    if config.shuffle_candidates:
        rows = examples.shuffle(rows, int(config.num_train_epochs), config.seed)
    if config.max_prompt_tokens is not None:
        rows = examples.fit_histories(rows, prompt, catalogue, tokenizer, config.max_prompt_tokens)
    rows = examples.drop_hidden_citations(rows, prompt, catalogue)
    check_answer(config.model_name_or_path, tokenizer, prompt, rows[0].slate, catalogue)
    scale = max(config.lambda_reasoning, config.lambda_ranking)  # TRL counts a batch as one token at least
    weights = config.lambda_reasoning / scale, config.lambda_ranking / scale
    dataset = encoding.encode_all(
        rows,
        lambda row: (
            encoding.encode_choices(row, prompt, catalogue, tokenizer, *weights)
            if config.teacher
            else encoding.encode(*row.chat(prompt, catalogue), tokenizer, *weights)
        ),
    )
    del rows  # gigabytes of slates that the training does not need
    encoding.check_lengths([len(ids) for ids in dataset.data["input_ids"]], config.max_length)
    if config.packing:
        dataset = pack_dataset(dataset, config.max_length, "bfd")
        print(f"packed into {len(dataset)} blocks of at most {config.max_length} tokens", flush=True)

    # model
    model = load_model(config.model_name_or_path)
    known_ids = start_new_codes(model, tokenizer, known_ids, catalogue, config.semantic_ids)
    if config.trainable == "lora":
        model = add_lora(model, id_tokens(tokenizer), config.lora_rank, config.lora_alpha)

    # trainer
    in_one_row = config.packing or config.padding_free
    trainer_class, collator = (ChoiceTrainer, ChoiceCollator) if config.teacher else (WeightedSFTTrainer, Collator)
    trainer = trainer_class(
        model=model,
        args=trainer_options(config),
        train_dataset=dataset,
        processing_class=tokenizer,
        data_collator=collator(tokenizer.pad_token_id, in_one_row, pad_to_multiple_of=config.pad_to_multiple_of),
    )
    if in_one_row:
        refuse_mixing(trainer, "expected --packing false and --padding_free false")
    train(trainer)
    warn_if_nothing_was_learned(trainer.state.log_history)

    # write
    copy_id_record(trainer, known_ids)


def read_rows(config: Config, catalogue: Catalogue, explained: bool) -> "list[Example]":
    """The traces' slates, or all train slates in the teacher's order; with the teacher's probabilities, if any.

    explained: whether the prompt asks for an explanation.
    """
    from gr2.sft.examples import add_shares, read_examples, read_lessons

    mixture = config.teacher, config.teacher_temperature, config.teacher_weight
    if not config.traces:
        return read_lessons(config.slates, catalogue.item_ids, *mixture)
    rows = read_examples(config.slates, config.traces, catalogue.item_ids, explained)
    return add_shares(rows, *mixture) if config.teacher else rows


def trainer_options(config: Config) -> Config:
    """The options for TRL, which is not to do again what has been done to the data."""
    options = copy.copy(config)
    options.dataset_kwargs = {"skip_prepare_dataset": True}
    options.remove_unused_columns = False  # `weights`
    options.packing = options.padding_free = False
    if config.shuffle_candidates:
        options.num_train_epochs = 1
    return options
