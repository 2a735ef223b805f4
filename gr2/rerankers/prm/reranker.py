"""PRM as a reranker; see gr2/rerankers/prm/network.py."""

from pathlib import Path

import numpy as np

from gr2.data.features import Features, check_names
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.rerankers.protocol import FeatureScorer

BLOCK = 256  # slates scored at a time


class PRMReranker(FeatureScorer):
    def __init__(self, folder: str | Path, features: Features):
        from gr2.rerankers.prm.network import PRM, PRMConfig

        config = PRMConfig.from_pretrained(folder)
        if config.features and len(config.inputs) == 1:
            raise InputError(f"{folder}: it was fitted before PRM recorded its features; run `gr2 fit` again")
        check_names(config.inputs, folder)
        self.model, self.features = PRM.from_pretrained(folder).eval(), features
        trained, given = self.model.config.vector_size, features.vectors.shape[1]
        if trained != given:
            raise InputError(f"{folder}: it was trained on item vectors of {trained} numbers, --embeddings has {given}")

    def scores(self, slates: list[Slate]) -> list[np.ndarray]:
        import torch

        from gr2.rerankers.prm.network import encode, make_batch

        scores = []
        for start in range(0, len(slates), BLOCK):
            block = slates[start : start + BLOCK]
            encoded = encode(block, self.features, self.model.config)
            with torch.inference_mode():
                padded = self.model.scores(make_batch(encoded, self.features.vectors)).double().numpy()
            scores += [row[: len(slate.candidates)] for row, slate in zip(padded, block, strict=True)]
        return scores
