"""gr2 sft: accepted traces + a model -> a model that reasons and reranks.

TRL's SFTTrainer on prompt and completion; only the completion is learned. The prompt is the student's own, whatever
prompt the teacher saw. Every option of TRL's SFTConfig is an option here.
"""

from dataclasses import dataclass

import torch
from trl import SFTConfig

from gr2.artifacts import read_lines
from gr2.config import arg
from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.data.tables import read_slates
from gr2.errors import InputError

TRACE_COLUMNS = ("slate_id", "accepted", "reasoning", "ranking")


@dataclass(kw_only=True)
class Config(SFTConfig):
    items: str = arg(help="items.parquet")
    semantic_ids: str = arg(help="semantic_ids.parquet")
    slates: str = arg(help="slates.parquet")
    traces: list[str] = arg(help="traces.jsonl files; of a slate with several accepted traces the first counts")
    model_name_or_path: str = arg(help="the mid-trained model")
    prompt: str = arg("prompts/student.yaml", "the student's prompt, the same in rl and rerank")
    report_to: str = arg("none", "trackers: tensorboard, trackio, wandb, none")

    def __post_init__(self) -> None:
        if self.bf16 is None and not torch.accelerator.is_available():
            self.bf16 = False  # TRL would set it, and transformers then refuse
        super().__post_init__()


def run(config: Config) -> None:
    from datasets import Dataset
    from trl import SFTTrainer

    from gr2.language_model.loading import load_model, load_tokenizer
    from gr2.training import train

    catalogue = read_catalogue(config.items, config.semantic_ids)
    tokenizer = load_tokenizer(config.model_name_or_path)
    rows = examples(config, catalogue)
    refuse_long(rows, tokenizer, config.max_length)
    print(f"{len(rows)} slates with an accepted trace", flush=True)
    trainer = SFTTrainer(
        model=load_model(config.model_name_or_path),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    train(trainer)


def examples(config: Config, catalogue: Catalogue) -> list[dict]:
    """One chat example per slate with an accepted trace: the student's prompt, the teacher's reasoning and ranking."""
    from gr2.prompts import load_prompt, render, write_answer

    prompt = load_prompt(config.prompt)
    slates = {
        slate["slate_id"]: slate for slate in read_slates(config.slates, catalogue.item_ids).iter_rows(named=True)
    }
    rows: dict[str, dict] = {}
    for path in config.traces:
        for line, trace in enumerate(read_lines(path, TRACE_COLUMNS)):
            slate = slates.get(trace["slate_id"])
            if slate is None or slate["split"] != "train":
                raise InputError(
                    f"{path}: row {line}, slate_id '{trace['slate_id']}': expected a train slate of {config.slates}"
                )
            if not trace["accepted"] or trace["slate_id"] in rows:
                continue
            answer = write_answer(trace["reasoning"] if prompt.has_trace else None, trace["ranking"], catalogue)
            rows[trace["slate_id"]] = {
                "prompt": render(prompt, slate, catalogue),
                "completion": [{"role": "assistant", "content": answer}],
            }
    if not rows:
        raise InputError(f"{', '.join(config.traces)}: no accepted trace")
    return [rows[slate_id] for slate_id in slates if slate_id in rows]


def refuse_long(rows: list[dict], tokenizer, max_length: int | None) -> None:
    """TRL would cut a long example and with it the answer; raises InputError instead."""
    lengths = [
        len(tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=True, return_dict=False))
        for row in rows
    ]
    print(f"tokens an example: median {sorted(lengths)[len(lengths) // 2]}, longest {max(lengths)}", flush=True)
    if max_length is not None and max(lengths) > max_length:
        raise InputError(f"max_length {max_length}: the longest example has {max(lengths)} tokens; raise max_length or lower "
                         "max_history in the prompt file")  # fmt: skip
