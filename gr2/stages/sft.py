"""gr2 sft: accepted traces + a model -> a model that reasons and reranks.

TRL's SFTTrainer on prompt and completion; only the completion is learned, its reasoning with less weight than its ranking.
The prompt is the student's own, whatever prompt the teacher saw. Every option of TRL's SFTConfig is an option here.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import polars as pl
from trl import SFTConfig

from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.errors import InputError
from gr2.files.sid_tokens import SID
from gr2.files.slates import Slate, slates_of
from gr2.files.tables import read_slates
from gr2.options.declare import arg
from gr2.prompts.prompt import Prompt, load_prompt, render, shown_items
from gr2.stages.shared import OwnPrecision
from gr2.traces.store import read_traces

TRACE_COLUMNS = ("slate_id", "accepted", "reasoning", "ranking")


@dataclass(kw_only=True)
class Config(OwnPrecision, SFTConfig):
    items: str = arg(help="items.parquet", path="items.parquet")
    semantic_ids: str = arg(help="semantic_ids.parquet", path="semantic_ids.parquet")
    slates: str = arg(help="slates.parquet", path="slates.parquet")
    traces: list[str] = arg(
        help="traces.jsonl files; of a slate with several accepted traces the first counts", path="traces.jsonl"
    )
    model_name_or_path: str = arg(help="the mid-trained model", path=True)
    prompt: str = arg("student", "the student's prompt, the same in rl and rerank", path=True)
    max_prompt_tokens: int | None = arg(
        None, "the oldest history items are left out until a prompt has at most this many tokens", least=1
    )
    shuffle_candidates: bool = arg(
        False, "show the candidates in random order, each slate in num_train_epochs different ones, all in one pass"
    )
    lambda_reasoning: float = arg(
        0.3, "weight of a token of the explanation; only its ratio to lambda_ranking matters", least=0
    )
    lambda_ranking: float = arg(1.0, "weight of every other token of the answer", least=0)
    trainable: Literal["all", "lora"] = arg(
        "all", "everything, or LoRA and the rows of the IDs' tokens, merged at the end"
    )
    lora_rank: int = arg(32, "lora: rank", least=1)
    lora_alpha: int = arg(64, "lora: scale, divided by the rank", least=1)
    report_to: str = arg("none", "trackers: tensorboard, trackio, wandb, none")

    def __post_init__(self) -> None:
        if not self.lambda_reasoning and not self.lambda_ranking:
            raise InputError("--lambda_ranking 0: expected a number above 0, or lambda_reasoning above 0")
        if self.loss_type != "nll":
            raise InputError(f"--loss_type {self.loss_type}: expected nll; tokens are weighted by the two lambdas")
        if self.label_smoothing_factor:
            raise InputError(f"--label_smoothing_factor {self.label_smoothing_factor}: expected 0; tokens are weighted by the "
                             "two lambdas")  # fmt: skip
        if self.packing and self.packing_strategy != "bfd":
            raise InputError(f"--packing_strategy {self.packing_strategy}: expected bfd, which cuts no example")
        if self.packing and self.max_length is None:
            raise InputError("--packing true: expected max_length, a block's tokens")
        if self.shuffle_candidates and (self.num_train_epochs < 1 or self.num_train_epochs % 1):
            raise InputError(
                f"--num_train_epochs {self.num_train_epochs}: expected a whole number with shuffle_candidates"
            )
        super().__post_init__()


def run(config: Config) -> None:
    from transformers import set_seed
    from trl import pack_dataset

    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.language_model.taught_ids import check_taught, hand_on
    from gr2.language_model.trainable import id_tokens, with_lora
    from gr2.prompts.checks import check_answer
    from gr2.sft.weighting import Collator, WeightedSFTTrainer, encode
    from gr2.training import train

    set_seed(config.seed)
    catalogue = read_catalogue(config.items, config.semantic_ids)
    tokenizer = load_tokenizer(config.model_name_or_path)
    taught = check_taught(config.model_name_or_path, tokenizer, catalogue, config.semantic_ids)
    catalogue = catalogue.safe_for(tokenizer)
    scale = max(config.lambda_reasoning, config.lambda_ranking)  # TRL takes a batch for one token at least
    weights = config.lambda_reasoning / scale, config.lambda_ranking / scale
    slates, make = examples(config, catalogue, tokenizer)
    check_answer(config.model_name_or_path, tokenizer, load_prompt(config.prompt), slates[0], catalogue)
    dataset = encode_slates(slates, lambda slate: encode(*make(slate), tokenizer, *weights))
    refuse_long([len(ids) for ids in dataset.data["input_ids"]], config.max_length)
    if config.packing:
        dataset = pack_dataset(dataset, config.max_length, "bfd")
        print(f"packed into {len(dataset)} blocks of at most {config.max_length} tokens", flush=True)
    model = load_model(config.model_name_or_path)
    if config.trainable == "lora":
        model = with_lora(model, id_tokens(tokenizer), config.lora_rank, config.lora_alpha)
    in_one_row = config.packing or config.padding_free
    trainer = WeightedSFTTrainer(
        model=model,
        args=prepared(config),
        train_dataset=dataset,
        processing_class=tokenizer,
        data_collator=Collator(tokenizer.pad_token_id, in_one_row, pad_to_multiple_of=config.pad_to_multiple_of),
    )  # fmt: skip
    train(trainer)
    hand_on(trainer, taught)


def prepared(config: Config) -> Config:
    """The options as the trainer needs them: what has been done to the data is not to be done again."""
    config = copy.copy(config)
    config.dataset_kwargs = {"skip_prepare_dataset": True}
    config.remove_unused_columns = False  # `weights`
    config.packing = config.padding_free = False
    if config.shuffle_candidates:
        config.num_train_epochs = 1
    return config


def encode_slates(slates: list[Slate], encode: Callable[[dict], dict[str, list]]):
    """A Dataset with the token columns of every slate, encoded on all cores: 50,000 slates take a minute on one."""
    import pyarrow
    from datasets import Dataset

    from gr2.processes import map_chunks

    def encode_chunk(chunk: list[dict]) -> pyarrow.Table:
        return pyarrow.Table.from_pylist([encode(slate) for slate in chunk])

    return Dataset(pyarrow.concat_tables(map_chunks(encode_chunk, slates, "encoding")))


def examples(config: Config, catalogue: Catalogue, tokenizer) -> tuple[list[dict], Callable]:
    """Train slates with an accepted trace, once, or in `num_train_epochs` orders of candidates; and slate -> (chat, answer).

    Rows, not random transforms: a resumed training finds the same example at the same place.
    """
    from gr2.prompts.answer import write_answer
    from gr2.prompts.history import fit_history

    prompt = load_prompt(config.prompt)
    frame = read_slates(config.slates, catalogue.item_ids).filter(pl.col("split") == "train")
    traces = accepted(config, dict(frame.select("slate_id", "candidates").iter_rows()))
    slates = [slate for slate in slates_of(frame) if slate.slate_id in traces]
    print(f"{len(slates)} slates with an accepted trace", flush=True)
    if config.shuffle_candidates:
        epochs = range(int(config.num_train_epochs))
        slates = [slate.shuffled(config.seed, epoch) for epoch in epochs for slate in slates]
    if config.max_prompt_tokens is not None:
        slates = fit_history(
            slates, lambda slate: render(prompt, slate, catalogue), tokenizer, config.max_prompt_tokens
        )
    if prompt.has_trace:
        slates = explained_by_what_is_shown(slates, traces, prompt, catalogue)

    def make(slate: Slate) -> tuple[list[dict], str]:
        trace = traces[slate.slate_id]
        reasoning = trace["reasoning"] if prompt.has_trace else None
        return render(prompt, slate, catalogue), write_answer(reasoning, trace["ranking"], catalogue)

    return slates, make


def explained_by_what_is_shown(
    slates: list[Slate], traces: dict[str, dict], prompt: Prompt, catalogue: Catalogue
) -> list[dict]:
    """The slates whose explanation cites no item that the student's prompt does not show; the others are counted."""

    def is_shown(slate: Slate) -> bool:
        shown = {catalogue.sid[item_id] for item_id in shown_items(prompt, slate)}
        return shown.issuperset(match[0] for match in SID.finditer(traces[slate.slate_id]["reasoning"]))

    kept = [slate for slate in slates if is_shown(slate)]
    if len(kept) < len(slates):
        print(f"left out: {len(slates) - len(kept)} of {len(slates)} examples, whose explanation cites an item that the prompt "
              "does not show", flush=True)  # fmt: skip
    if not kept:
        raise InputError(f"every explanation cites an item that the prompt '{prompt.name}' does not show: its max_history, or "
                         "--max_prompt_tokens, is below the teacher's")  # fmt: skip
    return kept


def accepted(config: Config, candidates: dict[str, list[str]]) -> dict[str, dict]:
    """The first accepted trace of each slate, by slate_id; `candidates` are those of the train slates.

    InputError for a trace that is of no train slate, or an accepted one whose ranking is not of its slate's candidates: the
    same slate_id is given to another pre-ranker's list for that event.
    """
    traces: dict[str, dict] = {}
    for path in config.traces:
        for line, trace in enumerate(read_traces(path, TRACE_COLUMNS)):
            slate_id = trace["slate_id"]
            if slate_id not in candidates:
                raise InputError(
                    f"{path}: row {line}, slate_id '{slate_id}': expected a train slate of {config.slates}"
                )
            if not trace["accepted"]:
                continue
            if sorted(trace["ranking"] or []) != sorted(candidates[slate_id]):
                raise InputError(f"{path}: row {line}, column 'ranking': expected the {len(candidates[slate_id])} candidates of "
                                 f"slate_id '{slate_id}' in {config.slates}; were the traces made from other slates?")  # fmt: skip
            traces.setdefault(slate_id, trace)
    if not traces:
        raise InputError(f"{', '.join(config.traces)}: no accepted trace")
    return traces


def refuse_long(lengths: list[int], max_length: int | None) -> None:
    """A long example would be cut, and with it the answer; raises InputError instead."""
    print(f"tokens an example: median {sorted(lengths)[len(lengths) // 2]}, longest {max(lengths)}", flush=True)
    if max_length is not None and max(lengths) > max_length:
        raise InputError(f"max_length {max_length}: the longest example has {max(lengths)} tokens; raise max_length, or "
                         "shorten histories with max_prompt_tokens")  # fmt: skip
