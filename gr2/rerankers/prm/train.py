"""The training of `gr2 fit --kind prm`: listwise softmax cross-entropy; the model is that of the epoch with the best NDCG@5."""

from functools import partial

import numpy as np
import torch
from transformers import EvalPrediction, set_seed

from gr2.data.features import Features
from gr2.files.slates import Slate
from gr2.metrics import pad
from gr2.rerankers.prm import PRM, PRMConfig, batch, encoded
from gr2.rerankers.training import Slates, keep_best
from gr2.stages.fit import Config


def fit(learned: list[Slate], judged: list[Slate], features: Features, config: Config) -> None:
    """Trains on `learned` and keeps the epoch that is best on `judged`.

    Every slate has a label above 0. Writes config.json, model.safetensors and training_log.jsonl to the output folder.
    """
    set_seed(config.seed)
    shape = PRMConfig(
        vector_size=features.vectors.shape[1],
        features=config.features,
        hidden_size=config.hidden_size,
        layers=config.layers,
        dropout=config.dropout,
        ranks=max(len(slate.candidates) for slate in learned),
        history=max(len(slate.history) for slate in learned),
    )
    learned, judged = ([labelled(slate, features, shape) for slate in slates] for slates in (learned, judged))
    model = PRM(shape)
    values = np.concatenate([slate["inputs"] for slate in learned])
    model.mean.copy_(torch.from_numpy(values.mean(0)))
    model.scale.copy_(torch.from_numpy(values.std(0) + 1e-9))
    keep_best(model, Slates(learned), Slates(judged), config, "ndcg@5", compute_metrics=measured,
              data_collator=partial(collate, vectors=features.vectors))  # fmt: skip


def labelled(slate: Slate, features: Features, shape: PRMConfig) -> dict[str, np.ndarray]:
    return encoded(slate, features, shape) | {"labels": np.array(slate.labels)}


def collate(slates: list[dict[str, np.ndarray]], vectors: np.ndarray) -> dict[str, torch.Tensor]:
    labels = torch.from_numpy(pad([slate["labels"] for slate in slates], 0.0)).float()
    return batch(slates, vectors) | {"labels": labels}


def measured(prediction: EvalPrediction) -> dict[str, float]:
    return {"ndcg@5": float(prediction.predictions.mean())}
