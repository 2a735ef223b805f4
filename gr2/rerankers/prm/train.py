"""Trains PRM: listwise softmax cross-entropy; the model is that of the epoch with the best NDCG@5."""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from transformers import set_seed

from gr2.arrays import pad
from gr2.data.features import Features, find_names, is_logged
from gr2.files.slates import Slate
from gr2.rerankers.prm.network import PRM, PRMConfig, SlateRows, encode, make_batch
from gr2.rerankers.settings import Training
from gr2.rerankers.train import Examples, train_best


def train_prm(
    train: list[Slate], valid: list[Slate], features: Features, training: Training, with_features: bool
) -> None:
    """Every slate has a label above 0. Writes config.json, model.safetensors and training_log.jsonl."""
    set_seed(training.seed)
    config = PRMConfig(
        vector_size=features.vectors.shape[1],
        features=with_features,
        inputs=find_names(train) if with_features else ("score",),
        hidden_size=training.hidden_size,
        layers=training.layers,
        dropout=training.dropout,
        ranks=0 if is_logged(train) else max(len(slate.candidates) for slate in train),
        history=max(len(slate.history) for slate in train),
    )
    encoded = encode(train, features, config)
    model = PRM(config)
    values = np.concatenate([slate.inputs for slate in encoded])
    model.mean.copy_(torch.from_numpy(values.mean(0)))
    model.scale.copy_(torch.from_numpy(values.std(0) + 1e-9))
    valid_set = Examples(encode(valid, features, config))
    collator = partial(collate, vectors=features.vectors)
    train_best(model, Examples(encoded), valid_set, training, "ndcg@5", data_collator=collator)


def collate(slates: list[SlateRows], vectors: np.ndarray) -> dict[str, Tensor]:
    """What `PRM.forward` takes."""
    labels = torch.from_numpy(pad([slate.labels for slate in slates], 0.0)).float()
    return vars(make_batch(slates, vectors)) | {"labels": labels}
