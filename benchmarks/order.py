"""Does a reranker's answer depend on the order of its candidates? The same slates in their order and in a random one.

    python benchmarks/order.py --items runs/lists/prepare/items.parquet --slates runs/lists/slates/slates.parquet \\
        --semantic_ids runs/lists/sids/semantic_ids.parquet --list_size 6 \\
        --rerankers global=runs/lists/global_0 pointer=runs/lists/pointer_0

Any reranker of `gr2 rerank`; language models answer greedily with the prompt `student`. Prints one JSON line for each:
of how many slates the first `list_size` items are the same, item by item, and the mean Kendall tau of the two whole
rankings (list writers leave what comes after a list in its input order). What reads the rank (blend, LambdaMART, PRM)
is told another one.
"""

import argparse
import json

from scipy.stats import kendalltau

from gr2.files.items import read_items
from gr2.files.slates import Slate, read_slate_table, slates_of
from gr2.rerankers.open import open_reranker
from gr2.rerankers.protocol import Inputs, Reranker


def compare(reranker: Reranker, slates: list[Slate], list_size: int, seed: int) -> dict[str, float]:
    given = [answer.ranking for answer in reranker.rank(slates)]
    mixed = [answer.ranking for answer in reranker.rank([slate.shuffled(seed) for slate in slates])]
    taus = []
    for one, other in zip(given, mixed, strict=True):
        index = {item_id: index for index, item_id in enumerate(other)}
        if len(one) > 1:
            taus.append(kendalltau(range(len(one)), [index[item_id] for item_id in one]).statistic)
    same = sum(one[:list_size] == other[:list_size] for one, other in zip(given, mixed, strict=True))
    return {"slates": len(slates), "identical": same, "kendall_tau": round(sum(taus) / len(taus), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", required=True)
    parser.add_argument("--slates", required=True)
    for name in ("interactions", "embeddings", "semantic_ids"):
        parser.add_argument(f"--{name}", help="for the rerankers that need it")
    parser.add_argument("--rerankers", nargs="+", required=True, metavar="NAME=RERANKER")
    parser.add_argument("--max_slates", type=int, default=1000, help="the first N test slates")
    parser.add_argument("--list_size", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    frame = read_slate_table(options.slates, read_items(options.items)["item_id"])
    slates = [slate for slate in slates_of(frame) if slate.split == "test"][: options.max_slates]
    inputs = Inputs(options.items, options.interactions, options.embeddings, options.semantic_ids)
    for entry in options.rerankers:
        name, folder = entry.split("=", 1)
        found = compare(open_reranker(folder, inputs), slates, options.list_size, options.seed)
        print(json.dumps({"reranker": name, **found}), flush=True)


if __name__ == "__main__":
    main()
