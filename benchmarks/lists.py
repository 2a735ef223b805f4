"""What writing a list costs: the network's one greedy pass, in PyTorch and as the program of `gr2 export`, against the
evaluator's beam search, at batch 1 and 64.

    python benchmarks/lists.py --rounds 20

Untrained networks of the recipes' sizes, 50 candidates and 50 items of history, lists of 6, one thread. All take turns,
so that other programs slow them alike; a turn is ten slates, one after the other as a server has them, and a batch of
64. Prints one JSON line: p50 and p99 milliseconds of a slate at batch 1, the p50 of processor time, which is what a
slate waits where nothing else runs, milliseconds a slate at batch 64, and how many times faster than the beam search (8
beams) each is at batch 1, by either p50. Needs gr2[export].
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from gr2.rerankers.degre.evaluator import Evaluator, EvaluatorConfig
from gr2.rerankers.degre.inputs import EvaluatorInput
from gr2.rerankers.degre.lookahead import Lookahead
from gr2.rerankers.degre.mining import mine
from gr2.rerankers.list_writer.batch import Requests
from gr2.rerankers.list_writer.decode import write_lists
from gr2.rerankers.list_writer.network import SPACES, ListWriter, ListWriterConfig
from gr2.rerankers.list_writer.program import Program, export

CANDIDATES, HISTORY, SIZE, LEVELS, CODES, BEAMS, FEATURES, TURN = 50, 50, 6, 2, 256, 8, 25, 10


def draw_slates(n: int, seed: int) -> tuple[Requests, EvaluatorInput]:
    """As a list writer reads them, and as the evaluator does."""
    rng = torch.Generator().manual_seed(seed)
    items = torch.stack([torch.randperm(CODES**LEVELS, generator=rng)[: CANDIDATES + HISTORY] for _ in range(n)])
    codes = torch.stack([items // CODES, items % CODES], -1)
    history, candidates = items[:, CANDIDATES:], items[:, :CANDIDATES]
    requests = Requests(codes[:, CANDIDATES:], codes[:, :CANDIDATES])
    return requests, EvaluatorInput(history, candidates, torch.randn(n, CANDIDATES, FEATURES, generator=rng))


def open_program(model: ListWriter, folder: Path) -> Callable[[Requests], np.ndarray]:
    """Exports the network and runs the program as `list_writer.py` does; ids are rows before, as they are codes for
    the network.
    """
    path, options = folder / f"{model.config.space}.onnx", onnxruntime.SessionOptions()
    export(Program(model, torch.cartesian_prod(*[torch.arange(CODES)] * LEVELS)), path)
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)

    def answer(requests: Requests) -> np.ndarray:
        history, candidates = (codes[..., 0] * CODES + codes[..., 1] for codes in requests)
        return session.run(["lists"], {"history": history.numpy(), "candidates": candidates.numpy()})[0]

    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
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
    with tempfile.TemporaryDirectory() as folder:
        for space in ("pointer", "global"):
            program = open_program(writers[space], Path(folder))
            answers[f"{space}_exported"] = lambda requests, seen, program=program: program(requests)
    answers["beam"] = lambda requests, seen: mine(Lookahead(evaluator, seen), seen.mask, SIZE, BEAMS).lists[:, 0]
    seconds = {(name, batch): [] for name in answers for batch in (1, 64)}
    with torch.inference_mode():
        for number in range(config.rounds):
            turn = [draw_slates(n, TURN * number + at) for at, n in enumerate([1] * TURN + [64])]
            for name, answer in answers.items():
                for slates in turn:
                    start = np.array([time.perf_counter(), time.thread_time()])
                    lists = answer(*slates)
                    spent = np.array([time.perf_counter(), time.thread_time()]) - start
                    seconds[name, len(lists)].append(spent / len(lists))
                    assert all(len(set(row)) == SIZE for row in lists.tolist())
    milliseconds = {key: 1000 * np.array(values[len(values) // 10 :]) for key, values in seconds.items()}
    p50 = {key: np.median(values, 0) for key, values in milliseconds.items()}
    print(
        json.dumps(
            {
                name: {
                    "p50": round(p50[name, 1][0], 2),
                    "p99": round(np.quantile(milliseconds[name, 1][:, 0], 0.99), 2),
                    "processor_p50": round(p50[name, 1][1], 2),
                    "batch_64": round(p50[name, 64][0], 2),
                    "times_faster_than_beam": (p50["beam", 1] / p50[name, 1]).round(1).tolist(),
                }
                for name in answers
            }
        )
    )


if __name__ == "__main__":
    main()
