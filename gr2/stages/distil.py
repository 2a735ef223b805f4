"""gr2 distil: slates + a student + a teacher -> the student after on-policy distillation.

The student answers the train slates, and at every token of its own answers its distribution is drawn to the teacher's:
TRL's DistillationTrainer (2306.13649) with the reverse KL, KL(student || teacher), as in GR2's Technical Report
(2606.31984), which uses it in place of SFT for small students; we leave out the report's reward term. Both models read
the same prompt and need the same tokenizer. Every option of TRL's DistillationConfig is an option here, but for those
that gr2/stages/trl_options.py refuses.
"""

from dataclasses import dataclass

from transformers import PreTrainedModel
from trl import DistillationConfig

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.slates import sample_slates
from gr2.options.declare import arg
from gr2.stages.shared import OwnPrecision
from gr2.stages.trl_options import DISTIL, check_choices, refuse_changed

WRITES = ("training_log.jsonl",)


@dataclass(kw_only=True)
class Config(OwnPrecision, DistillationConfig):
    items: str = arg(help="items.parquet", path="items.parquet")
    semantic_ids: str = arg(help="semantic_ids.parquet", path="semantic_ids.parquet")
    slates: str = arg(help="slates.parquet; its train split is answered, labels are not needed", path="slates.parquet")
    model_name_or_path: str = arg(help="the student", path=True)
    teacher: str = arg(help="the teacher: a model folder or hub id with the student's vocabulary", path=True)
    prompt: str = arg("student", "the prompt file that both were trained with", path=True)
    max_prompt_tokens: int | None = arg(
        None, "leave out the oldest history items until a prompt has this many tokens or fewer; as in sft", least=1
    )
    shuffle_candidates: bool = arg(False, "show candidates in random order")
    max_slates: int | None = arg(None, "learn from this many slates, drawn at random under the seed", least=1)
    report_to: str = arg("none", "trackers: tensorboard, trackio, wandb, none")

    def __post_init__(self) -> None:
        refuse_changed(self, DISTIL)
        check_choices(self)
        super().__post_init__()


def run(config: Config) -> None:
    from datasets import Dataset
    from trl import DistillationTrainer

    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.language_model.taught_ids import check_taught, hand_on
    from gr2.prompts.checks import check_answer
    from gr2.prompts.prompt import load_prompt
    from gr2.prompts.room import check_room
    from gr2.rl.decoding import RecipeDecoding
    from gr2.rl.examples import check_context, refuse_part_of_a_batch, rows, slates_in
    from gr2.training import train

    class Trainer(RecipeDecoding, DistillationTrainer):
        """TRL's trainer, with rollouts that follow the recipe alone."""

    prompt = load_prompt(config.prompt)
    catalogue = read_catalogue(config.items, config.semantic_ids)
    slates = sample_slates(slates_in(config, catalogue, "train"), config.max_slates, config.seed)
    if not slates:
        raise InputError(f"{config.slates}: no slate has split 'train'")
    batch = config.per_device_train_batch_size * config.world_size * config.gradient_accumulation_steps
    refuse_part_of_a_batch(len(slates), batch, config.slates,
                           "per_device_train_batch_size x processes x gradient_accumulation_steps")  # fmt: skip
    tokenizer = load_tokenizer(config.model_name_or_path)
    if tokenizer.get_vocab() != load_tokenizer(config.teacher).get_vocab():
        raise InputError(
            f"teacher {config.teacher}: expected the vocabulary of the student, {config.model_name_or_path}"
        )
    taught = check_taught(config.model_name_or_path, tokenizer, catalogue, config.semantic_ids)
    check_taught(config.teacher, tokenizer, catalogue, config.semantic_ids)
    catalogue = catalogue.safe_for(tokenizer)
    check_answer(config.model_name_or_path, tokenizer, prompt, slates[0], catalogue)
    check_room(slates, catalogue, prompt, tokenizer, config.max_completion_length, "max_completion_length")
    student, teacher = load_model(config.model_name_or_path), load_model(config.teacher)
    without_other_padding(student, teacher)
    asked = rows(config, slates, catalogue, prompt, config.shuffle_candidates)
    check_context(asked, tokenizer, config.max_completion_length, student.config.max_position_embeddings)
    print(f"{len(slates)} slates", flush=True)
    trainer = Trainer(
        model=student,
        teacher_model=teacher,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in asked]),
        processing_class=tokenizer,
    )
    train(trainer)
    hand_on(trainer, taught)


def without_other_padding(student: PreTrainedModel, teacher: PreTrainedModel) -> None:
    """Cuts the larger of two vocabularies to the other's number of rows, in place: of one tokenizer, both hold all words."""
    rows = [model.get_input_embeddings().num_embeddings for model in (student, teacher)]
    for model in (student, teacher):
        if model.get_input_embeddings().num_embeddings > min(rows):
            model.resize_token_embeddings(min(rows))
