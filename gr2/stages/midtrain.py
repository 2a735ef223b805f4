"""gr2 midtrain: items, interactions, semantic IDs and a base model -> a language model that speaks the IDs.

Without --model_name_or_path it starts from scratch: a small Qwen3-architecture model and a byte-level BPE trained on
the catalogue. Every option of transformers' TrainingArguments is an option here.
"""

import dataclasses
import random
from dataclasses import dataclass
from typing import Literal

import polars as pl
from tqdm import tqdm
from transformers import TrainingArguments

from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.errors import InputError
from gr2.files.columns import require_columns
from gr2.files.sid_tokens import SID
from gr2.files.slates import Slate
from gr2.files.tables import read_interactions
from gr2.midtrain.mixture import mixed, read_weights, shuffled
from gr2.options.declare import arg
from gr2.stages.shared import OwnPrecision


@dataclass(kw_only=True)
class Config(OwnPrecision, TrainingArguments):
    items: str = arg(help="items.parquet", path="items.parquet")
    interactions: str = arg(
        help="interactions.parquet of `gr2 prepare`; only its pretrain events are learned", path="interactions.parquet"
    )
    semantic_ids: str = arg(help="semantic_ids.parquet", path="semantic_ids.parquet")
    model_name_or_path: str | None = arg(
        None, "base model: folder, hub id or packaged:NAME; none: from scratch", path=True
    )
    trainable: Literal["all", "rows", "lora"] = arg(
        "all",
        "what is trained: everything; the rows of the IDs' tokens (a first phase); LoRA and those rows, merged at the end",
    )
    lora_rank: int = arg(32, "lora: rank", least=1)
    lora_alpha: int = arg(64, "lora: scale, divided by the rank", least=1)
    mixture: list[str] = arg(
        ["sequential=0.75", "captions=0.25"], "TASK=WEIGHT, shares of tokens, of sequential, persona, captions, general"
    )
    general_text: str | None = arg(
        None, "general: a text file, or a data set with a column 'text' (folder or hub id)", path=True
    )
    window: int = arg(40, "items of a history in one training document", least=2)
    passes: int = arg(8, "passes over the histories, each cut into other windows", least=1)
    block_length: int = arg(256, "tokens a training example; documents are packed", least=2)
    exercises: int = arg(0, "reranking exercises in the place of the four tasks; 0: none", least=0)
    prompt: str = arg("student", "exercises: the student's prompt, the same as in sft", path=True)
    vocab_size: int = arg(2000, "from scratch: words of the BPE, before the IDs", least=300)
    bpe_text: str = arg("", "from scratch: words of prompts and answers, which the BPE learns beside the catalogue")
    hidden_size: int = arg(128, "from scratch: width, a multiple of twice the heads", least=2)
    layers: int = arg(3, "from scratch: layers", least=1)
    heads: int = arg(4, "from scratch: query heads; 1 or an even number", least=1)
    context: int = arg(2048, "from scratch: longest sequence in tokens", least=2)
    spread: float = arg(
        0.1, "from scratch: of the first weights; 0.03 where the model is to copy IDs from its prompt soon", above=0
    )
    num_train_epochs: float = arg(1.0, "keep at 1: `passes` makes the passes, each different")
    bf16: bool | None = arg(None, "train in bfloat16; where not given: on a GPU")
    report_to: str = arg("none", "trackers: tensorboard, trackio, wandb, none")

    def __post_init__(self) -> None:
        weights = read_weights(self.mixture)
        if "general" in weights and self.general_text is None:
            raise InputError("--mixture general=WEIGHT: expected general_text, the text to learn")
        if self.general_text is not None and "general" not in weights:
            raise InputError(f"--general_text {self.general_text}: expected general=WEIGHT in the mixture")
        if self.trainable != "all" and not self.model_name_or_path:
            raise InputError(f"--trainable {self.trainable}: expected model_name_or_path, a base model to keep")
        if self.trainable == "rows" and self.weight_decay:
            raise InputError(f"--weight_decay {self.weight_decay}: expected 0 with trainable rows; it would shrink the rows that "
                             "are to stay")  # fmt: skip
        if not self.model_name_or_path and (self.hidden_size % (2 * self.heads) or (self.heads % 2 and self.heads > 1)):
            raise InputError(f"--hidden_size {self.hidden_size}: expected a multiple of twice the heads, {self.heads}, and "
                             "one head or an even number")  # fmt: skip
        if not self.model_name_or_path and not self.exercises and self.block_length > self.context:
            raise InputError(f"--block_length {self.block_length}: expected at most the context, {self.context}")
        super().__post_init__()


def run(config: Config) -> None:
    from transformers import Trainer, set_seed

    from gr2.language_model.taught_ids import hand_on, taught_ids
    from gr2.language_model.trainable import rows_only, with_lora
    from gr2.midtrain.packing import collate
    from gr2.training import train

    set_seed(config.seed)
    catalogue = read_catalogue(config.items, config.semantic_ids)
    histories = pretrain_histories(config.interactions, catalogue)
    model, tokenizer, token_ids = base_model(config, catalogue)
    catalogue = catalogue.safe_for(tokenizer)
    make = exercise_examples if config.exercises else packed_examples
    examples = make(config, histories, catalogue, tokenizer)
    if not examples:
        raise InputError(
            f"nothing to learn: {len(histories)} histories make not one example of {config.block_length} tokens"
        )
    try_answer(config, tokenizer, catalogue)
    if config.trainable == "rows":
        rows_only(model, token_ids)
    if config.trainable == "lora":
        model = with_lora(model, token_ids, config.lora_rank, config.lora_alpha)
    print(f"{model.num_parameters():,} parameters, {len(examples)} examples", flush=True)
    trainer = Trainer(model, config, train_dataset=examples, processing_class=tokenizer, data_collator=collate)
    train(trainer)
    hand_on(trainer, taught_ids(catalogue))


def packed_examples(config: Config, histories: list[list[str]], catalogue: Catalogue, tokenizer) -> list[dict]:
    """The tasks, mixed by weight, for `passes` passes over the histories, each cut and shuffled differently."""
    from gr2.midtrain import tasks
    from gr2.midtrain.packing import Encoder, pack

    rng, encode = random.Random(config.seed), Encoder(tokenizer)
    item_ids = list(catalogue.sid)
    make = {
        "sequential": lambda: shuffled(tasks.sequential(histories, catalogue, config.window, rng), rng),
        "persona": lambda: shuffled(tasks.persona(histories, catalogue, config.window, rng), rng),
        "captions": lambda: shuffled(tasks.captions(item_ids, catalogue), rng),
        "general": lambda: tasks.general(config.general_text, rng),
    }
    encoded = {name: (lambda one_pass=one_pass: map(encode, one_pass())) for name, one_pass in make.items()}
    documents = mixed(encoded, read_weights(config.mixture), config.passes)
    return list(pack(tqdm(documents, "packing", unit="document", disable=config.disable_tqdm), config.block_length))


def exercise_examples(config: Config, histories: list[list[str]], catalogue: Catalogue, tokenizer) -> list[dict]:
    """Each exercise an example of its own: what stands before it would be looked at for its answer. Learned: the answer and
    the token that ends it.
    """
    from gr2.language_model.chat import encode_turn, turn_end_id
    from gr2.midtrain.exercises import exercises
    from gr2.midtrain.packing import IGNORED
    from gr2.prompts.prompt import load_prompt

    end, examples = turn_end_id(tokenizer), []
    made = exercises(config.exercises, histories, config.window, load_prompt(config.prompt), catalogue,
                     random.Random(config.seed))  # fmt: skip
    for messages, answer in made:
        prompt, learned, _ = encode_turn(tokenizer, messages, answer)
        learned = learned[: learned.index(end) + 1]
        examples.append({"input_ids": prompt + learned, "labels": [IGNORED] * len(prompt) + learned})
    return examples


def pretrain_histories(interactions: str, catalogue: Catalogue) -> list[list[str]]:
    """Each user's pretrain items, oldest first: nothing that any slate asks for."""
    frame = read_interactions(interactions, catalogue.item_ids)
    require_columns(frame, interactions, ("split", "position"))
    frame = frame.filter(pl.col("split") == "pretrain").sort("user_id", "position")
    return frame.group_by("user_id", maintain_order=True).agg("item_id")["item_id"].to_list()


def base_model(config: Config, catalogue: Catalogue):
    """(model, tokenizer) whose vocabulary has a token for every code of the catalogue, and those tokens' ids."""
    from gr2.files.semantic_ids import codes_of_level
    from gr2.files.sid_tokens import vocabulary
    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.language_model.scratch import small_model, train_tokenizer
    from gr2.language_model.vocabulary import expand
    from gr2.prompts.round_trip import keep_answers

    if config.model_name_or_path:
        model, tokenizer = load_model(config.model_name_or_path), load_tokenizer(config.model_name_or_path)
    else:
        tokenizer = train_tokenizer(bpe_texts(catalogue, config.bpe_text), config.vocab_size)
        shape = (config.hidden_size, config.layers, config.heads, config.context)
        model = small_model(tokenizer, *shape, config.seed, config.spread)
    used = 1 + max(max(item) for item in catalogue.codes.values())
    codes = max(used, codes_of_level(config.semantic_ids) or 0)  # a later item may get a code that none has yet
    token_ids = expand(model, tokenizer, vocabulary(catalogue.levels, codes), config.seed)
    return model, keep_answers(tokenizer, catalogue), token_ids


def try_answer(config: Config, tokenizer, catalogue: Catalogue) -> None:
    """InputError where a slate's answer could later be neither written nor read; a base model without chats has none."""
    from gr2.prompts.checks import check_answer
    from gr2.prompts.prompt import load_prompt

    if tokenizer.chat_template is None:
        print(
            "the tokenizer has no chat template: the model can search for items, but not be asked to rerank", flush=True
        )
        return
    names = catalogue.item_ids.to_list()
    slate = Slate("example", names[:1], names[-10:])
    check_answer(config.model_name_or_path or "from scratch", tokenizer, load_prompt(config.prompt), slate, catalogue)


def bpe_texts(catalogue: Catalogue, text: str) -> list[str]:
    """Captions without their IDs, and `text`, the words of prompts and answers, 100 times."""
    from gr2.midtrain.tasks import captions

    no_sids = dataclasses.replace(catalogue, sid=dict.fromkeys(catalogue.sid, ""))
    texts = ["".join(part for part, _ in document) for document in captions(list(catalogue.title), no_sids)]
    return texts + 100 * [SID.sub("", text)]
