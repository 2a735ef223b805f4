"""gr2 fit one_pass: a language model that scores all candidates of a slate in one pass, beside their features.

It starts from --model_name_or_path, a mid-trained model of `gr2 midtrain` or a plain pretrained one, or from scratch:
a small Qwen3-architecture model and a byte-level BPE trained on the titles. With --teacher it first learns the scores
of another reranker on all train slates, those without a relevant candidate too, then labels:

    gr2 rerank --reranker lambdamart --split train --output_dir teacher ...
    gr2 fit one_pass --teacher teacher/rankings.parquet --output_dir one_pass ...
    gr2 rerank --reranker one_pass ...
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.data.features import find_names, load_features
from gr2.data.teacher_rankings import read_teacher_slates
from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.items import read_items
from gr2.files.slates import read_slate_table, slates_of
from gr2.options.declare import arg
from gr2.rerankers.record import write_record
from gr2.rerankers.settings import Training
from gr2.stages.fit.one_pass_options import DistillationOptions, PromptTextOptions, ReadoutOptions
from gr2.stages.fit.shared import Fit, read_train_and_valid
from gr2.stages.scratch_options import ScratchOptions
from gr2.stages.shared import LoraOptions

if TYPE_CHECKING:  # torch takes seconds to import
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from gr2.rerankers.one_pass.network import OnePass, OnePassConfig
    from gr2.rerankers.one_pass.rendering import Rendering

WRITES = ()  # a model and its tokenizer


@dataclass(kw_only=True)
class Config(ScratchOptions, LoraOptions, PromptTextOptions, ReadoutOptions, DistillationOptions, Fit):
    interactions: str | None = arg(None, "of features; only pretrain events are read", path="interactions.parquet")
    embeddings: str | None = arg(None, "of features", path="embeddings.safetensors")
    semantic_ids: str | None = arg(None, "of --show id and both", path="semantic_ids.parquet")
    model_name_or_path: str | None = arg(None, "base model: folder, hub id, packaged:NAME; none: scratch", path=True)
    learning_rate: float = arg(1e-3, "AdamW's", above=0, most=1)
    batch_size: int = arg(32, "slates per step", least=1)
    epochs: int = arg(20, "learn labels for N epochs, or stop earlier by --patience", least=1)
    patience: int = arg(4, "stop after N epochs without a better NDCG@5 on the valid split", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.features = self.features and self.readout != "letters"
        if self.readout == "none" and not self.features:
            raise InputError("--readout none: expected --features true; the head would read nothing")
        for name in ("interactions", "embeddings"):
            if self.features and not vars(self)[name]:
                raise InputError(f"--{name} is required, or --features false")
        if self.show != "title" and self.readout != "none" and not self.semantic_ids:
            raise InputError(f"--show {self.show}: expected --semantic_ids")
        if self.trainable == "lora" and not self.model_name_or_path:
            raise InputError("--trainable lora: expected --model_name_or_path, a base model to keep")
        if self.head_size % 2:
            raise InputError(f"--head_size {self.head_size}: expected an even number")
        self.check_heads()

    @property
    def training(self) -> Training:
        known = vars(self) | {"hidden_size": self.head_size, "layers": self.head_layers}
        return Training(**{name: known[name] for name in Training.__dataclass_fields__})


def run(config: Config) -> None:
    """Reads slates, features, a teacher's scores and a base model; keeps the epoch with the best NDCG@5.

    Writes config.json, model.safetensors, the tokenizer's files, training_log.jsonl and reranker.json, and
    semantic_ids.json where it reads IDs.
    """
    from transformers import set_seed

    from gr2.language_model.id_record import FILE
    from gr2.rerankers.one_pass.batch import make_examples
    from gr2.rerankers.one_pass.network import OnePassConfig, standardise
    from gr2.rerankers.one_pass.train import Lesson, adapt_lora, train_one_pass

    set_seed(config.seed)

    # read
    train, valid = read_train_and_valid(config)
    names = find_names(train) if config.features else ()
    features = load_features(config.items, config.interactions, config.embeddings) if config.features else None
    ranked = []
    if config.teacher:
        table = read_slate_table(config.slates).filter(pl.col("split") == "train")
        held_out = {slate.slate_id for slate in valid}
        slates = [slate for slate in slates_of(table) if slate.slate_id not in held_out]
        ranked = read_teacher_slates(config.teacher, slates, config.teacher_temperature, 1.0)

    # model
    shape = {name: vars(config)[name] for name in ("readout", "show", "title_tokens", "history", "dropout")}
    network = OnePassConfig(hidden_size=config.head_size, layers=config.head_layers, inputs=names, **shape)
    model, rendering, ids = make_network(config, network)

    # examples
    lesson = Lesson(
        from_teacher=make_examples(ranked, features, names),
        labelled=make_examples(train, features, names),
        valid=make_examples(valid, features, names),
    )
    if names:
        standardise(model.head, np.concatenate([example.inputs for example in lesson.from_teacher or lesson.labelled]))

    # trainer
    adapt = partial(adapt_lora, rank=config.lora_rank, alpha=config.lora_alpha) if config.trainable == "lora" else None
    train_one_pass(model, lesson, rendering, config.training, config.teacher_epochs, adapt)

    # write
    if ids:
        write_json(Path(config.output_dir) / FILE, ids)
    write_record(config.output_dir, "one_pass", scores=config.features and all(slate.scores for slate in train))


def make_network(config: Config, network: "OnePassConfig") -> "tuple[OnePass, Rendering | None, dict | None]":
    """The network with the base model in it, how it reads, and `semantic_ids.json`, if it reads IDs.

    InputError for a base model of too few positions.
    """
    from gr2.rerankers.one_pass.network import OnePass, new_network
    from gr2.rerankers.one_pass.rendering import Rendering, letter_ids

    if config.readout == "none":
        return OnePass(network), None, None
    catalogue = read_catalogue(config.items, config.semantic_ids) if config.show != "title" else None
    base, tokenizer, ids = open_base(config, catalogue)
    rendering = Rendering.of(tokenizer, network, config.items, config.semantic_ids)
    longest, room = rendering.longest, base.config.get_text_config().max_position_embeddings
    if longest > room:
        found = f"--history {config.history} and --title_tokens {config.title_tokens} make up to {longest} tokens"
        raise InputError(f"{found}: expected at most {room}, which the base model reads")
    return new_network(network, base, letter_ids(rendering) if config.readout == "letters" else []), rendering, ids


def open_base(
    config: Config, catalogue: Catalogue | None
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase, dict | None]":
    """The causal language model to start from, its tokenizer, and what it says of the IDs that it was taught."""
    from gr2.language_model.id_record import check_taught, describe_ids
    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.language_model.scratch import small_model, train_tokenizer
    from gr2.language_model.vocabulary import add_codes

    name = config.model_name_or_path
    if name:
        tokenizer = load_tokenizer(name)
        ids = check_taught(name, tokenizer, catalogue, config.semantic_ids) if catalogue else None
        return load_model(name), tokenizer, ids
    tokenizer = train_tokenizer([*read_items(config.items)["title"], *100 * [config.bpe_text]], config.vocab_size)
    base = small_model(
        tokenizer, config.hidden_size, config.layers, config.heads, config.context, config.seed, config.spread
    )
    if catalogue:
        add_codes(base, tokenizer, catalogue, config.semantic_ids, config.seed)
    return base, tokenizer, describe_ids(catalogue) if catalogue else None
