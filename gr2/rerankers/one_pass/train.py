"""Trains one pass: first a teacher's scores on all train slates, then labels; both by listwise softmax cross-entropy.

The first phase works in `taught.partial`, which holds its finished model until the second ends, so that an interrupted
training goes on from there.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from transformers import PreTrainedModel, set_seed

from gr2.files.artifacts import write_text
from gr2.rerankers.one_pass.batch import Example, collate
from gr2.rerankers.one_pass.network import OnePass
from gr2.rerankers.one_pass.rendering import Rendering
from gr2.rerankers.settings import Training
from gr2.rerankers.train import Examples, train_best
from gr2.training import LOG

TAUGHT = "taught.partial"


@dataclass(frozen=True)
class Lesson:
    """What is learned: from a teacher first, if `from_teacher` is not empty, then from labels."""

    from_teacher: list[Example]
    labelled: list[Example]
    valid: list[Example]


def train_one_pass(
    model: OnePass,
    lesson: Lesson,
    rendering: Rendering | None,
    training: Training,
    teacher_epochs: int,
    adapt: Callable[[OnePass], PreTrainedModel] | None = None,
) -> None:
    """Writes config.json, model.safetensors and training_log.jsonl; each phase keeps its epoch of the best NDCG@5.

    adapt: makes what is trained of the network, say LoRA.
    """
    output, log = Path(training.output_dir), ""
    options = {"data_collator": partial(collate, rendering=rendering), "label_names": ["labels"]}
    options["processing_class"] = rendering.tokenizer if rendering else None  # is saved beside the model
    adapt = adapt or (lambda model: model)
    valid = Examples(lesson.valid)
    if lesson.from_teacher:
        aside = output / TAUGHT
        first = replace(training, output_dir=str(aside), epochs=teacher_epochs, patience=teacher_epochs)
        if not (aside / "config.json").exists():
            set_seed(training.seed)
            train_best(adapt(model), Examples(lesson.from_teacher), valid, first, "ndcg@5", **options)
        model, log = OnePass.from_pretrained(aside), (aside / LOG).read_text()
    set_seed(training.seed)
    train_best(adapt(model), Examples(lesson.labelled), valid, training, "ndcg@5", **options)
    write_text(output / LOG, log + (output / LOG).read_text())
    shutil.rmtree(output / TAUGHT, ignore_errors=True)


def adapt_lora(model: OnePass, rank: int, alpha: int) -> PreTrainedModel:
    """Low-rank updates of the language model's linear layers, and the head."""
    from peft import LoraConfig, get_peft_model
    from torch import nn

    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    adapted = [name for name in layers if name.startswith("language_model.")]
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=alpha, target_modules=adapted, modules_to_save=["head"]))
