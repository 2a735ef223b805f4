"""Trains GloRank (2604.25291): behaviour cloning of reference lists, then reinforcement learning.

The second stage is GRPO's advantage on list-wise utility: several lists are drawn for each request, a list's advantage
is its utility against its group's mean in units of the group's standard deviation, and the gradient is that of the
lists' log-probabilities. Every list is used once, where it was drawn, so nothing needs clipping. With the space
`pointer` the first stage is a supervised Seq2Slate (1810.02019).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import set_seed

from gr2.rerankers.list_writer.batch import to_request
from gr2.rerankers.list_writer.decode import check_outputs, write_lists
from gr2.rerankers.list_writer.network import ListWriter, Space
from gr2.rerankers.list_writer.train import (
    ListTrainer,
    ShuffledSlates,
    ndcg,
    new_network,
    precision,
    reference_lists,
    requests_of,
    train_writer,
)
from gr2.rerankers.record import check_ids, check_kind
from gr2.rerankers.settings import Lists, Training
from gr2.rerankers.train import Examples

Utility = Callable[[Tensor, Tensor], Tensor]  # of lists [n, m] of indices by labels [n, K]: float [n]
UTILITIES: dict[str, Utility] = {"ndcg": ndcg, "precision": precision}


def clone(
    lists: Lists, training: Training, space: Space, shuffle: bool, known: Tensor | None = None, **switches: bool
) -> None:
    """Trains a new network. shuffle: show candidates in a new order every time; known: what is known of the codes, as
    `read_known` has it; switches: `shared` and `look_ahead` of `ListWriterConfig`.
    """
    set_seed(training.seed)
    model = new_network(space, lists, training, known, **switches)
    train_writer(
        CloningTrainer, model, ShuffledSlates(lists.train) if shuffle else Examples(lists.train), lists, training
    )


def open_clone(folder: str, lists: Lists) -> ListWriter:
    """The network to go on from; InputError where it cannot rank the slates."""
    check_kind(folder, "glorank", "model_name_or_path")
    check_ids(folder, lists.catalogue)
    model = ListWriter.from_pretrained(folder)
    check_outputs(model, lists.slates, folder)
    return model


def reinforce(model: ListWriter, lists: Lists, training: Training, group: int, shuffle: bool, utility: str) -> None:
    """Trains it on. group: lists that are drawn for each slate; utility: one of UTILITIES, their reward. It is also
    the metric of the valid slates, which decides on the best epoch; where none is better than the start, the start is
    kept.
    """
    train_set = ShuffledSlates(lists.train) if shuffle else Examples(lists.train)
    train_writer(
        ReinforcementTrainer, model, train_set, lists, training, metric=utility, group=group, utility=UTILITIES[utility]
    )


class CloningTrainer(ListTrainer):
    """The loss is -log P of an item of the reference lists."""

    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, **_):
        requests = requests_of(inputs)
        references = reference_lists(inputs["labels"], requests.mask, model.config.list_size)
        return model(*requests, references)["loss"]


class ReinforcementTrainer(ListTrainer):
    """Draws and trains without dropout, so that lists come from the policy that is trained."""

    def __init__(self, *args: Any, group: int, utility: Utility, **others: Any):
        super().__init__(*args, **others)
        self.group, self.utility = group, utility
        self.start = {name: weight.clone() for name, weight in self.model.state_dict().items()}

    def value(self, inputs: dict, lists: Tensor) -> Tensor:
        return self.utility(inputs["labels"], lists)

    def compute_loss(self, model, inputs: dict, return_outputs: bool = False, **_):
        model.eval()
        seed = self.args.seed * 1_000_003 + self.state.global_step
        generator = torch.Generator(inputs["labels"].device).manual_seed(seed)
        encoded = model.encode(requests_of(inputs)).repeat(self.group)
        with torch.no_grad():
            lists = write_lists(model, encoded, model.config.list_size, generator)
        labels = inputs["labels"].repeat_interleave(self.group, 0)
        advantages = group_advantages(self.utility(labels, to_request(lists, encoded.order)), self.group)
        return -(advantages * model.log_probs(encoded, lists).sum(1)).mean()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if not _internal_call:
            self.keep_the_better()
        super().save_model(output_dir, _internal_call)

    def keep_the_better(self) -> None:
        """Of the best epoch and the network that it started from, by the metric of the valid slates."""
        best = {name: weight.clone() for name, weight in self.model.state_dict().items()}
        self.model.load_state_dict(self.start)
        metrics = self.predict(self.eval_dataset, metric_key_prefix="start").metrics
        name = f"start_{self.args.metric_for_best_model}"
        self.log({name: metrics[name]})
        if self.state.best_metric > metrics[name]:
            self.model.load_state_dict(best)
        else:
            print("no epoch is better on the valid slates than the start, which is kept", flush=True)


def group_advantages(rewards: Tensor, group: int) -> Tensor:
    """Rewards [n * group], a request's adjacent -> (reward - mean) / std in the group; 0 where all are the same."""
    rows = rewards.view(-1, group)
    return ((rows - rows.mean(1, keepdim=True)) / (rows.std(1, keepdim=True) + 1e-6)).flatten()
