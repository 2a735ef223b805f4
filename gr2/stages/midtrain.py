"""gr2 midtrain: items, interactions, semantic IDs and a base model -> a language model that speaks the IDs.

Without --model_name_or_path it starts from scratch: a small Qwen3-architecture model and a byte-level BPE trained on
the catalogue. Every option of transformers' TrainingArguments is an option here.
"""

import random
from dataclasses import dataclass
from typing import Literal

from transformers import TrainingArguments

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.midtrain.mixture import read_weights
from gr2.options.declare import arg
from gr2.stages.scratch_options import ScratchOptions
from gr2.stages.shared import (
    HubOptions,
    ItemOptions,
    LoraOptions,
    PrecisionDefault,
    SemanticIdOptions,
    StudentPrompt,
    TrackerOptions,
)
from gr2.terminal import show_progress

WRITES = ()  # a model: later stages name its folder


@dataclass(kw_only=True)
class Config(
    ItemOptions,
    SemanticIdOptions,
    StudentPrompt,
    LoraOptions,
    ScratchOptions,
    TrackerOptions,
    HubOptions,
    PrecisionDefault,
    TrainingArguments,
):
    interactions: str = arg(help="interactions.parquet; pretrain events are learned", path="interactions.parquet")
    model_name_or_path: str | None = arg(None, "base model: folder, hub id, packaged:NAME; none: scratch", path=True)
    trainable: Literal["all", "rows", "lora"] = arg(
        "all", "train everything, only the IDs' embedding rows (a first phase), or these and LoRA, merged at the end"
    )
    mixture: list[str] = arg(
        ["sequential=0.75", "captions=0.25"], "TASK=WEIGHT, shares of tokens, of sequential, persona, captions, general"
    )
    general_text: str | None = arg(None, "general: a text file, or a data set with a column 'text'", path=True)
    window: int = arg(40, "items of a history in one training document", least=2)
    passes: int = arg(8, "passes over the histories, each cut into other windows", least=1)
    block_length: int = arg(256, "tokens per training example; documents are packed", least=2)
    exercises: int = arg(0, "train on N reranking exercises in `prompt` instead of the tasks; 0: none", least=0)
    num_train_epochs: float = arg(1.0, "keep at 1: `passes` makes the passes, each different")
    bf16: bool | None = arg(None, "train in bfloat16; default: on a GPU that can")

    def __post_init__(self) -> None:
        weights = read_weights(self.mixture)
        if "general" in weights and self.general_text is None:
            raise InputError("--mixture general=WEIGHT: expected --general_text, the text to learn")
        if self.general_text is not None and "general" not in weights:
            raise InputError(f"--general_text {self.general_text}: expected general=WEIGHT in --mixture")
        if self.trainable != "all" and not self.model_name_or_path:
            raise InputError(f"--trainable {self.trainable}: expected --model_name_or_path, a base model to keep")
        if self.trainable == "rows" and self.weight_decay:
            raise InputError(f"--weight_decay {self.weight_decay}: expected 0, or it shrinks the other rows")
        if self.use_cache:
            raise InputError("--use_cache true: expected false, or packed documents see each other")
        if not self.model_name_or_path:
            self.check_heads()
            if not self.exercises and self.block_length > self.context:
                raise InputError(f"--block_length {self.block_length}: expected at most the context, {self.context}")
        super().__post_init__()


def run(config: Config) -> None:
    """Reads items, pretrain events, IDs and a base model; writes model, `semantic_ids.json` and `training_log.jsonl`.

    Prints the number of parameters and examples.
    """
    from transformers import set_seed

    from gr2.language_model.id_record import copy_id_record, describe_ids, read_id_record
    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.language_model.new_codes import start_new_codes
    from gr2.language_model.scratch import small_model, train_tokenizer
    from gr2.language_model.separation import refuse_mixing
    from gr2.language_model.trainable import add_lora, train_rows_only
    from gr2.language_model.vocabulary import add_codes
    from gr2.midtrain.examples import encode_exercises, mix_tasks, read_histories
    from gr2.midtrain.exercises import make_exercises
    from gr2.midtrain.packing import collate, pack
    from gr2.midtrain.tasks import bpe_texts
    from gr2.prompts.checks import check_answer
    from gr2.prompts.prompt import load_prompt
    from gr2.prompts.round_trip import keep_answers
    from gr2.rates import LanguageModelTrainer
    from gr2.training import train, warn_if_nothing_was_learned

    set_seed(config.seed)

    # read
    catalogue = read_catalogue(config.items, config.semantic_ids)
    histories = read_histories(config.interactions, catalogue.item_ids)
    prompt = load_prompt(config.prompt)
    if config.model_name_or_path:
        model, tokenizer = load_model(config.model_name_or_path), load_tokenizer(config.model_name_or_path)
    else:
        tokenizer = train_tokenizer(bpe_texts(catalogue, config.bpe_text), config.vocab_size)
        shape = (config.hidden_size, config.layers, config.heads, config.context)
        model = small_model(tokenizer, *shape, config.seed, config.spread, config.local_window)
    token_ids = add_codes(model, tokenizer, catalogue, config.semantic_ids, config.seed)
    if config.model_name_or_path:
        start_new_codes(model, tokenizer, read_id_record(config.model_name_or_path), catalogue, config.semantic_ids)
    tokenizer = keep_answers(tokenizer, catalogue)
    catalogue = catalogue.safe_for(tokenizer)

    # examples
    rng, window = random.Random(config.seed), config.window
    if config.exercises:
        shown = catalogue.safe_for(tokenizer, prompt.title_tokens)
        exercises = make_exercises(config.exercises, histories, window, prompt, shown, rng)
        examples = encode_exercises(exercises, tokenizer)
    else:
        weights, text = read_weights(config.mixture), config.general_text
        documents = mix_tasks(histories, catalogue, tokenizer, weights, text, window, config.passes, rng)
        examples = list(pack(show_progress(documents, "packing", unit="documents"), config.block_length))
    if not examples:
        raise InputError(f"--block_length {config.block_length}: {len(histories)} histories do not fill one example")
    if tokenizer.chat_template is None:
        print("the tokenizer has no chat template: the model can search for items, but not rerank", flush=True)
    else:  # later stages must be able to write and read an answer
        names = catalogue.item_ids.to_list()
        slate = Slate("example", names[:1], names[-10:])
        check_answer(config.model_name_or_path or "from scratch", tokenizer, prompt, slate, catalogue)

    # model
    callbacks = [train_rows_only(model, token_ids)] if config.trainable == "rows" else []
    if config.trainable == "lora":
        model = add_lora(model, token_ids, config.lora_rank, config.lora_alpha)
    print(f"{model.num_parameters():,} parameters, {len(examples)} examples", flush=True)

    # trainer
    trainer = LanguageModelTrainer(
        model,
        config,
        train_dataset=examples,
        processing_class=tokenizer,
        data_collator=collate,
        callbacks=callbacks,
    )
    if not config.exercises:
        refuse_mixing(trainer, "expected another base model, such as a Qwen3 or a Llama")
    train(trainer)
    warn_if_nothing_was_learned(trainer.state.log_history)

    # write
    copy_id_record(trainer, describe_ids(catalogue))
