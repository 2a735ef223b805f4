"""A list writer as one ONNX program: encoding and greedy decoding, from rows of the catalogue to lists.

The program is traced from the very code that `gr2 rerank` runs (`write_lists`), with the loop over positions unrolled.
ONNX Runtime (onnxruntime.ai) runs it without PyTorch. AOTInductor, tried too, is slower here and compiles for one kind
of CPU.
"""

import logging
import random
import warnings
from pathlib import Path

import jinja2
import torch
from torch import Tensor, nn
from torch.export import Dim

from gr2.rerankers.list_writer.batch import NONE, Requests, to_request
from gr2.rerankers.list_writer.decode import write_lists
from gr2.rerankers.list_writer.network import ListWriter

OPSET = 23  # the first with Attention as one operator
INPUTS, OUTPUT = ("history", "candidates"), "lists"
README = Path(__file__).with_name("program.md.j2")


class Program(nn.Module):
    """Rows of the catalogue -> lists."""

    def __init__(self, model: ListWriter, codes: Tensor):
        """codes: int64 [items, levels], of the whole catalogue."""
        super().__init__()
        self.model = model
        padding = torch.full_like(codes[:1], NONE)  # the last row, which index NONE reads
        self.register_buffer("codes", torch.cat([codes, padding]))

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        """history: int64 [n, H], rows, newest first; candidates: int64 [n, K], rows; NONE where they are padded.

        Returns lists int64 [n, list_size] of indices of the candidates, NONE past a list's end.
        """
        encoded = self.model.encode(Requests(self.codes[history], self.codes[candidates]))
        return to_request(write_lists(self.model, encoded, self.model.config.list_size), encoded.order)


def export(program: Program, path: Path) -> None:
    """Writes the ONNX file; the numbers of requests, of their candidates and of their history are free."""
    limit = program.model.config.history
    requests, longest = Dim("requests"), {1: Dim("length", max=limit)} if limit > 1 else {}  # 0 and 1 cannot be free
    shapes = ({0: requests} | longest, {0: requests, 1: Dim("width")})
    example = (torch.zeros(3, min(limit, 2), dtype=torch.int64), torch.arange(4).expand(3, -1).contiguous())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, of its own parts; so are the next
        for name in ("torch.onnx", "onnx_ir"):
            logging.getLogger(name).setLevel(logging.ERROR)
        exported = torch.export.export(program, example, dynamic_shapes=shapes)
        made = torch.onnx.export(
            exported, dynamo=True, opset_version=OPSET, input_names=INPUTS, output_names=[OUTPUT], verbose=False
        )
    for part in (made.model, made.model.graph, *made.model.graph.all_nodes()):
        part.metadata_props.clear()  # traces of calls, with paths of this machine
    made.save(path)


def count_same(program: Program, path: Path, requests: int) -> int:
    """For how many of this many random requests the file writes the network's list."""
    import onnxruntime

    session, rng = onnxruntime.InferenceSession(path), random.Random(0)
    items, limit, same = range(len(program.codes) - 1), program.model.config.history, 0
    for _ in range(requests):
        length = rng.randint(0, limit) if limit > 1 else limit
        history = torch.tensor([rng.choices(items, k=length)], dtype=torch.int64)
        candidates = torch.tensor([rng.sample(items, rng.randint(1, min(50, len(items))))])
        with torch.inference_mode():
            expected = program(history, candidates).numpy()
        (found,) = session.run([OUTPUT], dict(zip(INPUTS, (history.numpy(), candidates.numpy()), strict=True)))
        same += bool((found == expected).all())
    return same


def describe(about: dict, item_ids: list[str]) -> str:
    """The README.md of a folder; about: its `program.json`."""
    template = jinja2.Template(README.read_text(encoding="utf-8"), undefined=jinja2.StrictUndefined, trim_blocks=True)
    return template.render(**about, example_history=item_ids[-2:], example_candidates=item_ids[:3]) + "\n"
