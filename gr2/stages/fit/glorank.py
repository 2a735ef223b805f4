"""gr2 fit glorank: a network that writes lists of semantic IDs (2604.25291), cloned from reference lists.

With --model_name_or_path it goes on from such a network with reinforcement learning.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gr2.errors import InputError
from gr2.files.slates import Slate, read_slates
from gr2.options.declare import arg
from gr2.rerankers.record import write_record
from gr2.rerankers.settings import Lists
from gr2.stages.fit.list_writing import CodebookOptions, read_codes, read_lists
from gr2.stages.fit.shared import SHAPE

if TYPE_CHECKING:  # torch takes seconds to import
    from gr2.rerankers.list_writer.network import ListWriterConfig

WRITES = ("config.json", "model.safetensors", "training_log.jsonl", "reranker.json")


@dataclass(kw_only=True)
class Config(CodebookOptions):
    space: Literal["global", "place", "pointer"] | None = arg(
        None, "an action is global: a code of an ID; pointer: a candidate; place: a place of the input. Default: global"
    )
    shared: bool | None = arg(
        None, "global: an output neuron's weights are the code's own vector, one table for input and output"
    )
    look_ahead: bool | None = arg(
        None, "global: a code's logit also counts the candidates that it leads to, by products with their states"
    )
    demonstrations: str | None = arg(
        None,
        "more slates to learn from, as `gr2 slates --splits pretrain` makes them",
        path="slates.parquet",
        named=True,
    )
    shuffle_candidates: bool = arg(True, "show each slate's candidates in a new order every time")
    model_name_or_path: str | None = arg(
        None, "go on from this folder of `gr2 fit glorank` with reinforcement; its shape is the folder's", path=True
    )
    group: int = arg(8, "reinforcement: lists drawn for each slate", least=2)
    utility: Literal["ndcg", "precision"] = arg(
        "ndcg", "reinforcement: a list's reward, and the metric on valid slates that chooses the epoch"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("shared", "look_ahead"):
            if vars(self)[name] and self.space in ("place", "pointer"):
                raise InputError(f"--{name} true: expected --space global, found {self.space}")
        for name in ("codebooks", "midtrained"):
            if vars(self)[name] and self.model_name_or_path:
                reason = f"{self.model_name_or_path} has vectors already"
                raise InputError(f"--{name} {vars(self)[name]}: expected no --model_name_or_path: {reason}")


def run(config: Config) -> None:
    """Reads train and valid slates, and demonstrations; writes the network of the epoch whose lists are best."""
    from gr2.rerankers.list_writer.train_glorank import clone, open_clone, reinforce

    # read
    lists = read_lists(config)
    if config.demonstrations:
        lists = replace(lists, train=lists.train + read_demonstrations(config.demonstrations, lists))

    # model, trainer
    shuffle = config.shuffle_candidates
    if config.model_name_or_path:
        model = open_clone(config.model_name_or_path, lists)
        take_shape(config, model.config, max(len(slate.history) for slate in lists.slates))
        reinforce(model, lists, config.training, config.group, shuffle, config.utility)
    else:
        known = read_codes(config, lists)
        switches = {"shared": config.shared, "look_ahead": config.look_ahead}
        clone(lists, config.training, config.space, shuffle, known, **switches)

    # write
    write_record(config.output_dir, "glorank", lists.catalogue)


def read_demonstrations(path: str, lists: Lists) -> list[Slate]:
    """The labelled train slates of another file."""
    slates = [slate for slate in read_slates(path, lists.catalogue.item_ids, "train") if slate.relevant]
    if not slates:
        raise InputError(f"--demonstrations {path}: expected train slates with a relevant candidate, found none")
    print(f"{len(slates)} demonstrations of {path}", flush=True)
    return slates


def take_shape(config: Config, network: "ListWriterConfig", longest_history: int) -> None:
    """Puts the network's shape into `config`; InputError where an option asks for another."""
    for name in SHAPE:
        given, found = vars(config)[name], vars(network)["encoder_layers" if name == "layers" else name]
        expected = min(given, longest_history) if name == "history" and given is not None else given
        if given is not None and expected != found:
            raise InputError(f"--{name} {given}: expected {found}, as {config.model_name_or_path} has it")
        setattr(config, name, found)
