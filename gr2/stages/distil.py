"""gr2 distil: slates + a student + a teacher -> the student after on-policy distillation.

The student answers the train slates, and at every token of its own answers its distribution is drawn to the teacher's:
TRL's DistillationTrainer (2306.13649) with the reverse KL, KL(student || teacher), as in GR2's Technical Report
(2606.31984), which uses it in place of SFT for small students; we leave out the report's reward term. Both models read
the same prompt and need the same tokenizer. Every option of TRL's DistillationConfig is an option here, but for those
that gr2/stages/trl_options.py refuses.
"""

from dataclasses import dataclass

import polars as pl
from transformers import PreTrainedModel
from trl import DistillationConfig

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.slates import read_slate_table, sample_slates, slates_of
from gr2.options.declare import arg
from gr2.stages.shared import (
    HubOptions,
    PrecisionDefault,
    PromptOptions,
    SemanticIdOptions,
    SlateOptions,
    TrackerOptions,
)
from gr2.stages.trl_options import DISTIL, OnPolicy, check_choices, refuse_changed

WRITES = ("training_log.jsonl",)


@dataclass(kw_only=True)
class Config(
    SlateOptions,
    SemanticIdOptions,
    PromptOptions,
    OnPolicy,
    TrackerOptions,
    HubOptions,
    PrecisionDefault,
    DistillationConfig,
):
    model_name_or_path: str = arg(help="the student", path=True)
    teacher: str = arg(help="the teacher: a model folder or hub id with the student's vocabulary", path=True)

    def __post_init__(self) -> None:
        refuse_changed(self, DISTIL)
        check_choices(self)
        super().__post_init__()


def run(config: Config) -> None:
    """Reads both models, the tables and the slates (no labels); writes the student, its IDs and training_log.jsonl."""
    from datasets import Dataset

    from gr2.language_model.id_record import check_taught, copy_id_record
    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.prompts.checks import check_answer, check_room
    from gr2.prompts.prompt import load_prompt
    from gr2.rl.examples import build_rows, check_context, refuse_partial_batch
    from gr2.rl.trainer import OnPolicyDistiller
    from gr2.training import train

    # read
    prompt = load_prompt(config.prompt)
    catalogue = read_catalogue(config.items, config.semantic_ids)
    frame = read_slate_table(config.slates, catalogue.item_ids)
    tokenizer = load_tokenizer(config.model_name_or_path)
    if tokenizer.get_vocab() != load_tokenizer(config.teacher).get_vocab():
        raise InputError(f"--teacher {config.teacher}: expected the vocabulary of {config.model_name_or_path}")
    known_ids = check_taught(config.model_name_or_path, tokenizer, catalogue, config.semantic_ids)
    check_taught(config.teacher, tokenizer, catalogue, config.semantic_ids)
    catalogue = catalogue.safe_for(tokenizer, prompt.title_tokens)

    # examples
    slates = slates_of(frame.filter(pl.col("split") == "train"))
    if not slates:
        raise InputError(f"{config.slates}: no slate has split 'train'")
    slates = sample_slates(slates, config.max_slates, config.seed)
    batch = config.per_device_train_batch_size * config.world_size * config.gradient_accumulation_steps
    product = "per_device_train_batch_size x processes x gradient_accumulation_steps"
    refuse_partial_batch(len(slates), batch, config.slates, product)
    check_answer(config.model_name_or_path, tokenizer, prompt, slates[0], catalogue)
    longest = config.max_completion_length
    check_room(slates, catalogue, prompt, tokenizer, longest, "max_completion_length")
    shuffle_seed = config.seed if config.shuffle_candidates else None
    rows = build_rows(prompt, catalogue, tokenizer, config.max_prompt_tokens, slates, shuffle_seed)

    # model
    student, teacher = load_model(config.model_name_or_path), load_model(config.teacher)
    cut_padding(student, teacher)
    check_context(rows, tokenizer, longest, student.config.max_position_embeddings)
    print(f"{len(slates)} slates", flush=True)

    # trainer
    trainer = OnPolicyDistiller(
        model=student,
        teacher_model=teacher,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in rows]),
        processing_class=tokenizer,
    )

    # write
    train(trainer)
    copy_id_record(trainer, known_ids)


def cut_padding(student: PreTrainedModel, teacher: PreTrainedModel) -> None:
    """Cuts the larger vocabulary to the other's number of rows, in place: of one tokenizer, both hold all words."""
    rows = [model.get_input_embeddings().num_embeddings for model in (student, teacher)]
    for model in (student, teacher):
        if model.get_input_embeddings().num_embeddings > min(rows):
            model.resize_token_embeddings(min(rows))
