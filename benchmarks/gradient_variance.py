"""How much of a gradient is noise of the candidates' order (2604.25291): the same requests in random orders.

    python benchmarks/gradient_variance.py --items runs/movielens/prepare/items.parquet \
        --semantic_ids runs/movielens/sids/semantic_ids.parquet --slates runs/lists/slates/slates.parquet \
        --networks global=runs/lists/global_0 place=runs/lists/place_0

For each trained network, over `--requests` train slates in `--orders` random orders of their candidates:

    noise       E |g - E g|^2 / E |g|^2, g the gradient by all weights of one slate's -log P of its reference set in one
                order
    label       of a local space: the label's part of the gradient of an output neuron's weights, 1[neuron j is right]
                h, has the variance (1/N)(1 - 1/N) |E h|^2 over orders, says the paper; the mean over neurons,
                measured, over |E h|^2
    bound       (1/N)(1 - 1/N)

The reference items are the same in every order: relevant ones, as sorted by their codes. In a space in which an action
means the same in every order nothing depends on the order, and noise is 0 but for rounding.
"""

import argparse
import json

import torch

from gr2.data.catalogue import read_catalogue
from gr2.files.items import read_items
from gr2.files.slates import read_slate_table, slates_of
from gr2.rerankers.list_writer.batch import Requests, canonical_order, from_request, read_labels, read_requests
from gr2.rerankers.list_writer.network import ListWriter
from gr2.rerankers.list_writer.train import reference_lists


def measure(model: ListWriter, requests: Requests, labels: torch.Tensor, orders: int) -> dict[str, float]:
    """requests, labels: of one slate, sorted by codes."""
    reference = reference_lists(labels, requests.mask, model.config.list_size)
    gradients, hidden, right = [], [], []
    for _ in range(orders):
        order = torch.randperm(labels.shape[1])
        mixed = Requests(requests.history, requests.candidates[:, order])
        lists = from_request(reference, order[None])
        model.zero_grad()
        model(*mixed, lists)["loss"].backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]))
        with torch.no_grad():
            encoded = model.encode(mixed)
            hidden.append(model.states(encoded, from_request(lists, encoded.order))[0, 0, 0])
        right.append(lists[0, 0])
    gradient, state = torch.stack(gradients), torch.stack(hidden)
    noise = (gradient - gradient.mean(0)).square().sum(1).mean() / gradient.square().sum(1).mean()
    found = {"noise": noise.item()}
    if model.config.space == "place":
        label = torch.nn.functional.one_hot(torch.stack(right), labels.shape[1]).float()[..., None] * state[:, None]
        found["label"] = ((label - label.mean(0)).square().sum(2).mean() / state.mean(0).square().sum()).item()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("items", "semantic_ids", "slates"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--networks", nargs="+", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--orders", type=int, default=50)
    config = parser.parse_args()
    catalogue = read_catalogue(config.items, config.semantic_ids)
    frame = read_slate_table(config.slates, read_items(config.items)["item_id"])
    slates = [slate for slate in slates_of(frame) if slate.split == "train" and any(slate.labels)][: config.requests]
    for entry in config.networks:
        name, folder = entry.split("=", 1)
        torch.manual_seed(0)
        model, rows = ListWriter.from_pretrained(folder).eval(), []
        for slate in slates:
            requests = read_requests([slate], catalogue, model.config.history)
            order = canonical_order(requests.candidates)[0]
            labels = read_labels([slate], len(order))[:, order]
            sorted_requests = Requests(requests.history, requests.candidates[:, order])
            rows.append(measure(model, sorted_requests, labels, config.orders))
        count = labels.shape[1]
        means = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
        print(json.dumps({"network": name, **means, "bound": (1 / count) * (1 - 1 / count)}))


if __name__ == "__main__":
    main()
