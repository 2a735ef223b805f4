"""Does a reranker's answer depend on the order of its candidates? The same slates as they stand and in a random order.

    python benchmarks/order.py --config recipes/lists/rerank.yaml --list_size 6 \\
        --rerankers global=runs/lists/global-shuffled_0 pointer=runs/lists/pointer-shuffled_0 place=runs/lists/place-shuffled_0

Any reranker of `gr2 rerank`, with the options of its YAML file. Prints one JSON line for each: of how many slates the first
`list_size` items are the same, item by item, and the mean Kendall tau of the two whole rankings (those that write lists leave what
comes after a list in its input order). What reads the rank (blend, LambdaMART, PRM) is told another one.
"""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import polars as pl
from scipy.stats import kendalltau

from gr2.files.slates import shuffled
from gr2.files.tables import read_items, read_slates
from gr2.options.parse import config_file, parse, read_options
from gr2.stages.rerank import Config, answers


def compared(config: Config, slates: list[dict], list_size: int, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        given, mixed = (
            [answer["ranking"] for answer in answers(config, asked, Path(folder) / name)]
            for name, asked in (("given", slates), ("mixed", [shuffled(slate, seed) for slate in slates]))
        )
    places = [{item_id: place for place, item_id in enumerate(ranking)} for ranking in mixed]
    taus = [kendalltau(range(len(ranking)), [at[item_id] for item_id in ranking]).statistic
            for ranking, at in zip(given, places, strict=True) if len(ranking) > 1]  # fmt: skip
    same = sum(one[:list_size] == other[:list_size] for one, other in zip(given, mixed, strict=True))
    return {"slates": len(slates), "identical": same, "kendall_tau": round(sum(taus) / len(taus), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="YAML of `gr2 rerank`")
    parser.add_argument("--rerankers", nargs="+", required=True, metavar="NAME=RERANKER")
    parser.add_argument("--slates", type=int, default=1000, help="test slates, the first so many")
    parser.add_argument("--list_size", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    words = ["--config", options.config]
    config = parse("rerank", Config, read_options(words), config_file(words)[0])
    frame = read_slates(config.slates, read_items(config.items)["item_id"]).filter(pl.col("split") == config.split)
    slates = frame.head(options.slates).to_dicts()
    for entry in options.rerankers:
        name, reranker = entry.split("=", 1)
        asked = dataclasses.replace(config, reranker=reranker)
        print(json.dumps({"reranker": name, **compared(asked, slates, options.list_size, options.seed)}), flush=True)


if __name__ == "__main__":
    main()
