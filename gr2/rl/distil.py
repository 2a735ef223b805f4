"""gr2 distil: slates + a student + a teacher -> the student after on-policy distillation.

The student answers the train slates, and at every token of its own answers its distribution is drawn to the teacher's:
TRL's DistillationTrainer (2306.13649) with the reverse KL, KL(student || teacher), as in GR2's Technical Report
(2606.31984), which uses it in place of SFT for small students; we leave out the report's reward term. Both models read
the same prompt and need the same vocabulary. Every option of TRL's DistillationConfig is an option here.
"""

from dataclasses import dataclass

from trl import DistillationConfig

from gr2.config import arg
from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.precision import OwnPrecision


@dataclass(kw_only=True)
class Config(OwnPrecision, DistillationConfig):
    items: str = arg(help="items.parquet", path=True)
    semantic_ids: str = arg(help="semantic_ids.parquet", path=True)
    slates: str = arg(help="slates.parquet; its train split is answered, labels are not needed", path=True)
    model_name_or_path: str = arg(help="the student", path=True)
    teacher: str = arg(help="the teacher: a model folder or hub id with the student's vocabulary", path=True)
    prompt: str = arg("prompts/student.yaml", "the prompt file that both were trained with", path=True)
    max_prompt_tokens: int | None = arg(
        None, "the oldest history items are left out until a prompt has at most so many tokens; as in sft"
    )
    shuffle_candidates: bool = arg(False, "show candidates in random order")
    max_slates: int | None = arg(None, "learn from at most so many slates")
    report_to: str = arg("none", "trackers: tensorboard, trackio, wandb, none")


def run(config: Config) -> None:
    from datasets import Dataset
    from trl import DistillationTrainer

    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.prompts import load_prompt
    from gr2.rl.slates import rows, slates_of
    from gr2.training import train

    prompt = load_prompt(config.prompt)
    catalogue = read_catalogue(config.items, config.semantic_ids)
    slates = slates_of(config, catalogue, "train")[: config.max_slates]
    if not slates:
        raise InputError(f"{config.slates}: no slate has split 'train'")
    tokenizer = load_tokenizer(config.model_name_or_path)
    if tokenizer.get_vocab() != load_tokenizer(config.teacher).get_vocab():
        raise InputError(
            f"teacher {config.teacher}: expected the vocabulary of the student, {config.model_name_or_path}"
        )
    print(f"{len(slates)} slates", flush=True)
    trainer = DistillationTrainer(
        model=load_model(config.model_name_or_path),
        teacher_model=load_model(config.teacher),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in rows(config, slates, catalogue, prompt)]),
        processing_class=tokenizer,
    )
    train(trainer)
