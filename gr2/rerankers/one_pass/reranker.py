"""One pass as a reranker; see gr2/rerankers/one_pass/network.py."""

from pathlib import Path
from typing import Self

import numpy as np

from gr2.data.features import check_names
from gr2.files.slates import Slate
from gr2.rerankers.protocol import Inputs, Sampling, Scorer


class OnePassReranker(Scorer):
    def __init__(self, folder: str | Path, inputs: Inputs, batch_size: int = 128):
        """InputError for a missing input, and where the model was not taught the catalogue's semantic IDs."""
        import torch

        from gr2.rerankers.one_pass.network import OnePass, OnePassConfig
        from gr2.rerankers.one_pass.rendering import open_rendering

        folder, config = str(folder), OnePassConfig.from_pretrained(folder)
        reads = config.readout != "none"
        if reads and config.show != "title":
            inputs.require(folder, "semantic_ids")
        if config.inputs:
            check_names(config.inputs, folder)
        self.features = inputs.features(folder) if config.inputs else None
        self.rendering = open_rendering(folder, config, inputs.items, inputs.semantic_ids) if reads else None
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model, self.batch_size = OnePass.from_pretrained(folder).eval().to(device), batch_size

    @classmethod
    def open(cls, folder: str, inputs: Inputs, sampling: Sampling) -> Self:
        return cls(folder, inputs, sampling.batch_size)

    def scores(self, slates: list[Slate]) -> list[np.ndarray]:
        import torch

        from gr2.rerankers.one_pass.batch import make_batch, make_inputs

        inputs, scores = make_inputs(slates, self.features, self.model.config.inputs), []
        for start in range(0, len(slates), self.batch_size):
            part = slice(start, start + self.batch_size)
            batch = make_batch(slates[part], inputs[part], self.rendering)
            with torch.inference_mode():
                padded = self.model.scores({name: tensor.to(self.model.device) for name, tensor in batch.items()})
            rows = padded.double().cpu().numpy()
            scores += [row[: len(slate.candidates)] for row, slate in zip(rows, slates[part], strict=True)]
        return scores
