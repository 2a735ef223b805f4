"""Where does an output that means the same code in every request overtake a pointer, and does it on items never seen?

    python benchmarks/list_scaling.py --output scaling.jsonl --factors 1 10 --seeds 0
    python benchmarks/list_scaling.py --output sizes.jsonl --factors 10 --hidden_size 384 --layers 4 --threads 2

Trains every system on --slates x 1, x 10, ... slates of the synthetic world (gr2/data/sources/synthetic.py), each of
another user: the next 4 items of the user and 16 that other users took, in random order. So the relevant items are as
popular as the others, and only taste, which the history shows, tells them apart. A tenth of the items is in no train
or valid slate and in no history there. An item's vector is its genre's plus noise; residual k-means makes two codes of
64 of it.

Prints one table: P@4 on valid and test slates, and the share of the relevant items that is found in test slates, by how
many train slates hold the item (in the history or as a candidate). `taste` ranks by the probabilities that the world
draws from, the ceiling of all. A finished cell is one JSON line in --output and is not trained again.
"""

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch

from gr2.data.catalogue import Catalogue
from gr2.data.sources.synthetic import synthetic
from gr2.files.slates import Slate
from gr2.rerankers.latent import row_of
from gr2.rerankers.list_writer.batch import NONE, read_requests, to_request
from gr2.rerankers.list_writer.codes import standardise
from gr2.rerankers.list_writer.decode import write_lists
from gr2.rerankers.list_writer.network import ListWriter
from gr2.rerankers.list_writer.train_glorank import clone
from gr2.rerankers.settings import Lists, Training
from gr2.semantic_ids.assign import assign
from gr2.semantic_ids.fit import fit

ITEMS, HISTORY, SIZE, CANDIDATES, CODES, WIDTH, NOISE = 1000, 10, 4, 20, 64, 32, 0.3
VALID, TEST, MOST = 300, 1000, 50_000  # slates
SEEN = {"0": (0, 0), "1-9": (1, 9), "10-99": (10, 99), "100-999": (100, 999), "1000-": (1000, 10**9)}
KEYS = ["slates", "system", "seed", "hidden_size", "layers", "learning_rate"]
SYSTEMS = {
    "place": {"space": "place"},
    "pointer": {"space": "pointer"},
    "pointer, codebooks": {"space": "pointer", "codebooks": True},
    "global": {"space": "global"},
    "global, shared": {"space": "global", "shared": True},
    "global, codebooks, shared": {"space": "global", "codebooks": True, "shared": True},
    "global, look_ahead": {"space": "global", "look_ahead": True},
    "global, codebooks, look_ahead": {"space": "global", "codebooks": True, "look_ahead": True},
}


class World:
    """Slates of the synthetic world. More slates have the smaller numbers' ones as their first, up to MOST."""

    def __init__(self, slates: int, seed: int):
        rng = np.random.default_rng(seed)
        source = synthetic(VALID + TEST + MOST, ITEMS, HISTORY + 2 * SIZE, seed)
        self.latent = source.latent
        self.item_ids = source.items(pl.Series([], dtype=pl.String), every=True)["item_id"].to_list()
        self.quantizer, self.catalogue = self.make_ids(rng, seed)
        never = set(rng.choice(self.item_ids, ITEMS // 10, replace=False).tolist())
        taken = source.interactions.group_by("user_id", maintain_order=True).agg("item_id")
        users = dict(taken.head(VALID + TEST + slates).rows())
        known = {user: [item for item in items if item not in never] for user, items in users.items()}
        pool = source.interactions["item_id"]
        test = list(users.items())[:TEST]
        seen_pool = pool.filter(~pool.is_in(list(never)))
        others = list(known.items())[TEST:]
        self.test = make_slates(test, pool.to_numpy(), seed)
        self.valid = make_slates(others[:VALID], seen_pool.to_numpy(), seed)
        self.train = make_slates(others[VALID:], seen_pool.to_numpy(), seed)

    def make_ids(self, rng: np.random.Generator, seed: int) -> tuple:
        centres = rng.normal(size=(1 + self.latent["genre"].max(), WIDTH)) / WIDTH**0.5
        noise = NOISE * rng.normal(size=(ITEMS, WIDTH))
        vectors = (centres[self.latent["genre"]] + noise).astype(np.float32)
        quantizer = fit("rkmeans", vectors, 2, CODES, seed=seed)
        codes = assign("minimum", quantizer, vectors, quantizer.encode(vectors), np.zeros((0, 2), np.int64), seed)
        texts = dict.fromkeys(self.item_ids, "")
        ids = dict(zip(self.item_ids, map(tuple, codes.tolist()), strict=True))
        return quantizer, Catalogue(pl.Series("item_id", self.item_ids), texts, texts, texts, texts, ids)

    def lists(self, slates: int) -> Lists:
        return Lists(self.train[:slates], self.valid, self.catalogue, SIZE, HISTORY)

    def known(self) -> torch.Tensor:
        books = torch.from_numpy(self.quantizer.codebooks)[:, : self.catalogue.code_count]
        return standardise(books).flatten(0, 1)

    def taste(self, slate: Slate) -> list[str]:
        """The list that the true probabilities say."""
        user, last = row_of(slate.user_id, self.latent["taste"]), row_of(slate.history[-1], self.latent["genre"])
        genres = [self.latent["genre"][row_of(item, self.latent["genre"])] for item in slate.candidates]
        odds = self.latent["taste"][user, genres] * self.latent["follows"][self.latent["genre"][last], genres]
        return [slate.candidates[index] for index in np.argsort(-odds, kind="stable")[:SIZE]]


def make_slates(users: list[tuple[str, list[str]]], pool: np.ndarray, seed: int) -> list[Slate]:
    """Each user's last SIZE items among others from `pool`, what all users took."""
    rng, slates = np.random.default_rng(seed), []
    for user, items in users:
        past, relevant = items[-SIZE - HISTORY : -SIZE], items[-SIZE:]
        drawn = pool[rng.integers(len(pool), size=4 * CANDIDATES)].tolist()
        others = [item for item in dict.fromkeys(drawn) if item not in items][: CANDIDATES - SIZE]
        if past and len(others) == CANDIDATES - SIZE:
            slate = Slate(user, past, relevant + others, [1.0] * SIZE + [0.0] * len(others), user_id=user)
            slates.append(slate.shuffled(seed))
    return slates


def train(world: World, system: str, cell: dict, epochs: int, patience: int) -> ListWriter:
    switches = dict(SYSTEMS[system])
    known = world.known() if switches.pop("codebooks", False) else None
    shape = cell["hidden_size"], cell["layers"]
    slates, seed, rate = cell["slates"], cell["seed"], cell["learning_rate"]
    with tempfile.TemporaryDirectory() as folder:
        training = Training(folder, seed, *shape, 0.1, rate, 64, epochs, patience)
        clone(world.lists(slates), training, shuffle=True, known=known, **switches)
        return ListWriter.from_pretrained(folder).eval()


def write(model: ListWriter, slates: list[Slate], world: World) -> list[list[str]]:
    lists = []
    for start in range(0, len(slates), 250):
        batch = slates[start : start + 250]
        with torch.inference_mode():
            encoded = model.encode(read_requests(batch, world.catalogue, HISTORY))
            indices = to_request(write_lists(model, encoded, SIZE), encoded.order).tolist()
        lists += [
            [slate.candidates[index] for index in row if index != NONE]
            for slate, row in zip(batch, indices, strict=True)
        ]
    return lists


def measure(world: World, slates: int, lists: list[list[str]]) -> dict[str, float | None]:
    """P@SIZE, and the share of relevant items found by the number of train slates that hold them."""
    held = [item for slate in world.train[:slates] for item in {*slate.history, *slate.candidates}]
    counts = dict(zip(*np.unique(held, return_counts=True), strict=True))
    rows = [
        (counts.get(item, 0), item in chosen)
        for slate, chosen in zip(world.test, lists, strict=True)
        for item in slate.relevant
    ]
    seen, found = np.array(rows).T
    inside = {name: (least <= seen) & (seen <= most) for name, (least, most) in SEEN.items()}
    by_seen = {name: round(float(found[part].mean()), 4) if part.any() else None for name, part in inside.items()}
    return {f"P@{SIZE}": precision(world.test, lists), **by_seen}


def precision(slates: list[Slate], lists: list[list[str]]) -> float:
    """P@SIZE, the mean over slates."""
    pairs = zip(slates, lists, strict=True)
    return round(sum(len({*slate.relevant} & {*chosen}) for slate, chosen in pairs) / SIZE / len(slates), 4)


def run(world: World, system: str, cell: dict, epochs: int, patience: int) -> dict:
    """The cell with what was measured."""
    start = time.perf_counter()
    if system == "taste":
        parameters, valid, test = 0, list(map(world.taste, world.valid)), list(map(world.taste, world.test))
    else:
        model = train(world, system, cell, epochs, patience)
        parameters = model.num_parameters()
        valid, test = write(model, world.valid, world), write(model, world.test, world)
    cell = cell | {"parameters": parameters, "valid": precision(world.valid, valid)}
    return cell | measure(world, cell["slates"], test) | {"seconds": round(time.perf_counter() - start)}


def print_table(cells: list[dict]) -> None:
    names = [*KEYS, "parameters", "valid", f"P@{SIZE}", *SEEN, "seconds"]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for cell in cells:
        print("| " + " | ".join("" if cell[name] is None else str(cell[name]) for name in names) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, type=Path, help="a line of JSON for every finished cell")
    parser.add_argument("--slates", type=int, default=300)
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--patience", type=int, default=5)
    parser.add_argument("--hidden_size", type=int, default=32)
    parser.add_argument("--layers", type=int, default=1, help="of the encoder; the decoder has one")
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = options.output.read_text().splitlines() if options.output.exists() else []
    cells = [json.loads(line) for line in lines]
    done = {tuple(cell[key] for key in KEYS) for cell in cells}
    shape = options.hidden_size, options.layers, options.learning_rate
    for slates, seed in itertools.product([options.slates * factor for factor in options.factors], options.seeds):
        world = None
        for system in ["taste", *options.systems]:
            key = (slates, system, seed, *shape)
            if key in done:
                continue
            world = world or World(slates, seed)
            cell = run(world, system, dict(zip(KEYS, key, strict=True)), options.epochs, options.patience)
            with options.output.open("a") as file:
                file.write(json.dumps(cell) + "\n")
            cells.append(cell)
    print_table(cells)


if __name__ == "__main__":
    main()
