"""What later events are worth to a language model, and to counts: a fusion of small rerankers with either.

    python benchmarks/fresh_events.py --recipe beauty --run runs/beauty --output_dir runs/fresh

Features and mid-training know the pretrain events alone. Here they know more: for valid slates the train events, for
test slates the train and the valid events, as in a system that is refreshed. A language model is mid-trained again on
each; it gives a candidate's log-probability after the history. A fusion of weights (gr2/rerankers/fusion) is fitted on
valid slates and judged on test. Prints one JSON line for each fusion; `against` names the one that it is compared with,
over the same slates, clustered by user. A model that is in --output_dir is not trained again.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import torch

from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.data.features import load_features
from gr2.evaluation.significance import compare
from gr2.files.slates import Slate, read_slate_table, slates_of
from gr2.language_model.loading import load_model, load_tokenizer
from gr2.language_model.sequences import HISTORY
from gr2.rerankers.fusion.models import fit_weights
from gr2.rerankers.fusion.table import Table, add_features, read_members
from gr2.rerankers.open import open_reranker
from gr2.rerankers.protocol import Inputs

KNOWN = {"pretrain": (), "valid": ("train",), "test": ("train", "valid")}  # beside the pretrain events
COUNTS = ("popularity", "recency", "followed", "followed_last", "together")
HISTORY_ITEMS, PENALTY, RESAMPLES = 20, 0.01, 5000


def add_events(interactions: Path, splits: tuple[str, ...], target: Path) -> Path:
    """The interactions with the events of these splits as pretrain events."""
    known = pl.when(pl.col("split").is_in(list(splits))).then(pl.lit("pretrain")).otherwise(pl.col("split"))
    pl.read_parquet(interactions).with_columns(known.alias("split")).write_parquet(target)
    return target


def midtrain(recipe: str, run: Path, interactions: Path, folder: Path) -> Path:
    if not (folder / "manifest.json").exists():
        options = {
            "items": run / "prepare/items.parquet",
            "semantic_ids": run / "sids/semantic_ids.parquet",
            "interactions": interactions,
            "output_dir": folder,
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        command = [sys.executable, "-m", "gr2", "midtrain", "--recipe", recipe, "--stage", "midtrain", *words]
        subprocess.run(command, check=True)
    return folder


@torch.inference_mode()
def score(folder: Path, slates: list[Slate], catalogue: Catalogue) -> list[np.ndarray]:
    """Of each slate float [K, 1]: the log-probability of each candidate's ID after the history."""
    tokenizer, model = load_tokenizer(str(folder)), load_model(str(folder)).eval()

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    found = []
    for slate in slates:
        history = encode(HISTORY + "".join(catalogue.sid[item_id] for item_id in slate.history[-HISTORY_ITEMS:]))
        asked = torch.tensor([encode(catalogue.sid[item_id]) for item_id in slate.candidates])
        rows = torch.cat([torch.tensor([history]).expand(len(asked), -1), asked], 1)
        logits = model(input_ids=rows, logits_to_keep=asked.shape[1] + 1).logits[:, :-1]
        values = logits.log_softmax(2).gather(2, asked[:, :, None]).sum((1, 2))
        found.append(values.double().numpy()[:, None])
    return found


def fuse(valid: Table, test: Table, names: tuple[str, ...], labels: dict[str, list]) -> np.ndarray:
    """NDCG@5 of each test slate, by weights for these columns that are fitted on the valid slates."""
    shares = np.concatenate([np.array(own) / sum(own) for own in labels["valid"]])
    weights = fit_weights(valid, names, shares, PENALTY)
    return test.ndcg(test.columns(names) @ np.array([weights[name] for name in names]), labels["test"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", required=True, help="that made the run, with a stage `midtrain`")
    parser.add_argument("--run", type=Path, required=True, help="its folder")
    parser.add_argument("--members", nargs="+", default=["fit_lambdamart", "fit_prm_0"], help="small rerankers in it")
    parser.add_argument("--output_dir", type=Path, required=True)
    options = parser.parse_args()
    run, out = options.run, options.output_dir
    out.mkdir(parents=True, exist_ok=True)

    events = {
        name: add_events(run / "prepare/interactions.parquet", splits, out / f"events_{name}.parquet")
        for name, splits in KNOWN.items()
    }
    models = {name: midtrain(options.recipe, run, file, out / f"model_{name}") for name, file in events.items()}

    files = str(run / "prepare/items.parquet"), str(run / "embed/embeddings.safetensors")
    catalogue = read_catalogue(files[0], str(run / "sids/semantic_ids.parquet"))
    slates = [slate for slate in slates_of(read_slate_table(str(run / "facts/slates.parquet"))) if any(slate.labels)]
    inputs = Inputs(files[0], str(events["pretrain"]), files[1])
    members = [open_reranker(str(run / member), inputs) for member in options.members]
    tables, labels = {}, {}
    for split in ("valid", "test"):
        own = [slate for slate in slates if slate.split == split]
        labels[split] = [slate.labels for slate in own]
        table = read_members(own, [member.rank(own) for member in members], [True] * len(members))
        for when, name in (("old", "pretrain"), ("new", split)):
            features = load_features(files[0], str(events[name]), files[1])
            counts = [f"{when}_{count}" for count in COUNTS]
            table = add_features(table, counts, features.compute(own, COUNTS))
            table = add_features(table, [f"{when}_model"], score(models[name], own, catalogue))
        tables[split] = table

    tested = [slate for slate in slates if slate.split == "test"]
    later = Inputs(files[0], str(events["test"]), files[1])
    for index, member in enumerate(options.members):  # with features of the pretrain events, then of later ones
        fresh = read_members(tested, [open_reranker(str(run / member), later).rank(tested)], [True]).rows[:, 0]
        for when, scores in (("pretrain", tables["test"].columns([f"member{index}_score"])[:, 0]), ("later", fresh)):
            value = float(tables["test"].ndcg(scores, labels["test"]).mean())
            print(json.dumps({"reranker": member, "events": when, "ndcg@5": round(value, 4)}), flush=True)

    small = tuple(f"member{index}_score" for index in range(len(members)))
    counts = tuple(f"{when}_{count}" for when in ("old", "new") for count in COUNTS)
    model = "old_model", "new_model"
    fusions = {
        "small": (small, None),
        "small, model of pretrain events": ((*small, "old_model"), "small"),
        "small, model of later events": ((*small, *model), "small"),
        "small, counts of later events": ((*small, *counts), "small"),
        "small, counts and model of later events": ((*small, *counts, *model), "small, counts of later events"),
    }
    users, found = np.array([slate.user_id for slate in tested]), {}
    for name, (columns, against) in fusions.items():
        found[name] = fuse(tables["valid"], tables["test"], columns, labels)
        row = {"fusion": name, "ndcg@5": round(float(found[name].mean()), 4)}
        if against:
            judged = compare(found[name], found[against], users, RESAMPLES, 0)
            row |= {"against": against, **{field: round(float(value), 4) for field, value in vars(judged).items()}}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
