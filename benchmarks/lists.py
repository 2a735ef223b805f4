"""What writing a list costs: the network's one greedy pass against the evaluator's beam search, and at batch 1 and 64.

    python benchmarks/lists.py --rounds 200

Untrained networks of the recipes' sizes, 50 candidates and 50 items of history, lists of 6, one thread; all take
turns, so that other programs slow them alike. Prints one JSON line: p50 and p99 milliseconds of a slate at batch 1,
milliseconds a slate at batch 64, and how many times faster than the beam search (8 beams) each is, by the medians at
batch 1.
"""

import argparse
import json
import time

import numpy as np
import torch

from gr2.rerankers.degre.evaluator import Evaluator, EvaluatorConfig
from gr2.rerankers.degre.lookahead import Lookahead
from gr2.rerankers.degre.mining import mine
from gr2.rerankers.degre.seen import Seen
from gr2.rerankers.list_writer.batch import Requests
from gr2.rerankers.list_writer.decode import write_lists
from gr2.rerankers.list_writer.network import SPACES, ListWriter, ListWriterConfig

CANDIDATES, HISTORY, SIZE, LEVELS, CODES, BEAMS, FEATURES = 50, 50, 6, 2, 256, 8, 25


def draw_slates(n: int, seed: int) -> tuple[Requests, Seen]:
    """As a list writer reads them, and as the evaluator does."""
    rng = torch.Generator().manual_seed(seed)
    items = torch.stack([torch.randperm(CODES**LEVELS, generator=rng)[: CANDIDATES + HISTORY] for _ in range(n)])
    codes = torch.stack([items // CODES, items % CODES], -1)
    history, candidates = items[:, CANDIDATES:], items[:, :CANDIDATES]
    requests = Requests(codes[:, CANDIDATES:], codes[:, :CANDIDATES])
    return requests, Seen(history, candidates, torch.randn(n, CANDIDATES, FEATURES, generator=rng))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--hidden_size", type=int, default=64)
    parser.add_argument("--layers", type=int, default=1)
    config = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = {
        "levels": LEVELS,
        "codes": CODES,
        "list_size": SIZE,
        "hidden_size": config.hidden_size,
        "encoder_layers": config.layers,
    }
    writers = {
        space: ListWriter(ListWriterConfig(space=space, candidates=CANDIDATES, **sizes)).eval() for space in SPACES
    }
    known = {"items": CODES**LEVELS, "features": tuple(map(str, range(FEATURES)))}
    evaluator = Evaluator(EvaluatorConfig(**known, **sizes)).eval()
    answers = {
        space: lambda requests, seen, model=model: write_lists(model, model.encode(requests), SIZE)
        for space, model in writers.items()
    }
    answers["beam"] = lambda requests, seen: mine(Lookahead(evaluator, seen), seen.mask, SIZE, BEAMS).lists[:, 0]
    seconds = {(name, batch): [] for name in answers for batch in (1, 64)}
    with torch.inference_mode():
        for number in range(config.rounds):
            for batch in (1, 64) if number % 10 == 0 else (1,):
                slates = draw_slates(batch, number)
                for name, answer in answers.items():
                    start = time.perf_counter()
                    lists = answer(*slates)
                    seconds[name, batch].append((time.perf_counter() - start) / batch)
                    assert all(len(set(row)) == SIZE for row in lists.tolist())
    milliseconds = {key: 1000 * np.array(values[len(values) // 10 :]) for key, values in seconds.items()}
    beam = np.median(milliseconds["beam", 1])
    print(
        json.dumps(
            {
                name: {
                    "p50": round(float(np.median(milliseconds[name, 1])), 2),
                    "p99": round(float(np.quantile(milliseconds[name, 1], 0.99)), 2),
                    "batch_64": round(float(np.median(milliseconds[name, 64])), 2),
                    "times_faster_than_beam": round(float(beam / np.median(milliseconds[name, 1])), 1),
                }
                for name in answers
            }
        )
    )


if __name__ == "__main__":
    main()
