"""`gr2 fit --kind glorank`: behaviour cloning of reference lists, or, from a folder of it, reinforcement learning.

The second stage is GRPO's advantage on list-wise utility (2604.25291): several lists are drawn for each request, a list's advantage
is its NDCG against the mean of its group in units of the group's spread, and the gradient is that of the lists'
log-probabilities. Every list is used once, right where it was drawn, so nothing needs clipping. With the space `pointer` the first
stage is a supervised Seq2Slate (1810.02019).
"""

import torch
from transformers import set_seed

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.list_writer import train as fitting
from gr2.rerankers.list_writer.batch import Requests
from gr2.rerankers.list_writer.decode import check_places, in_request_order, repeated, write
from gr2.rerankers.list_writer.network import ListWriter
from gr2.rerankers.record import check_ids, check_kind
from gr2.rerankers.training import Slates
from gr2.stages.fit import SHAPE, Config


def fit(learned: list[Slate], judged: list[Slate], catalogue: Catalogue, config: Config) -> None:
    """Trains on `learned`, keeps the epoch that is best on `judged`; every slate has a label above 0."""
    set_seed(config.seed)
    data = (fitting.Shuffled if config.shuffle_candidates else Slates)(learned)
    if config.model_name_or_path:
        model = cloned(learned + judged, catalogue, config)
        fitting.fit(Reinforced, model, data, judged, fitting.collate, catalogue, config, group=config.group)
    else:
        model = fitting.new_network(config.space, learned + judged, catalogue, config)
        fitting.fit(Cloned, model, data, judged, fitting.collate, catalogue, config)


def cloned(slates: list[Slate], catalogue: Catalogue, config: Config) -> ListWriter:
    """The network to go on from. Its shape goes into `config`; InputError where an option asks for another."""
    folder = config.model_name_or_path
    check_kind(folder, ("glorank",), "model_name_or_path")
    check_ids(folder, catalogue)
    model = ListWriter.from_pretrained(folder)
    check_places(model, slates, folder)
    longest = max(len(slate.history) for slate in slates)
    for name in SHAPE:
        asked, had = vars(config)[name], vars(model.config)["encoder_layers" if name == "layers" else name]
        if asked is not None and (min(asked, longest) if name == "history" else asked) != had:
            raise InputError(f"--{name} {asked}: expected {had}, as {folder} has it")
        setattr(config, name, had)
    return model


class Cloned(fitting.Writing):
    """The loss is -log P of an item of the reference lists."""

    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, **_):
        asked = Requests(inputs["history"], inputs["candidates"])
        return model(*asked, fitting.references(inputs["labels"], asked.there, model.config.list_size))["loss"]


class Reinforced(fitting.Writing):
    """`group` lists are drawn for each request; without dropout, so that they come from the policy that is trained."""

    def __init__(self, *args, group: int, **others):
        super().__init__(*args, **others)
        self.group = group

    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, **_):
        model.eval()
        generator = torch.Generator(inputs["labels"].device).manual_seed(
            self.args.seed * 1_000_003 + self.state.global_step
        )
        encoded = repeated(model.encode(Requests(inputs["history"], inputs["candidates"])), self.group)
        with torch.no_grad():
            lists = write(model, encoded, model.config.list_size, generator)
        rewards = fitting.utility(inputs["labels"].repeat_interleave(self.group, 0), in_request_order(lists, encoded))
        advantages = group_advantages(rewards, self.group)
        return -(advantages * model.log_probs(encoded, lists).sum(1)).mean()


def group_advantages(rewards: torch.Tensor, group: int) -> torch.Tensor:
    """Rewards [n * group], a request's side by side -> (reward - mean) / spread in the group; 0 where all are the same."""
    rows = rewards.view(-1, group)
    return ((rows - rows.mean(1, keepdim=True)) / (rows.std(1, keepdim=True) + 1e-6)).flatten()
