"""PRM (Pei et al. 2019, Personalized Re-ranking for Recommendation, 1904.06813): a Transformer over a slate's
candidates scores each in the light of the others.

Where it differs from the paper: an item is its text vector, so that new items need no training; the personalised
vector PV is learned with the rest, as attention of a candidate over the user's history, while the paper takes it from
a click model trained before; PV is added, not concatenated; the pre-ranker's score is an input beside the rank. With
`features` the inputs are those of the logistic blend, and the pre-ranker's score is added to the model's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from gr2.arrays import pad
from gr2.data.features import Features
from gr2.files.slates import Slate
from gr2.metrics import ndcg


class PRMConfig(PretrainedConfig):
    """`vector_size`: of the item vectors; `ranks`, `history`: positions with an embedding of their own. Higher ranks
    share the last one; older items of a history are not read. `ranks` 0: the input order is not seen, as where it is
    that of an impression log, in which a click depends on the position."""

    model_type = "prm"

    vector_size: int = 1
    features: bool = False  # the pre-ranker's score is added to the model's
    inputs: tuple[str, ...] = ("score",)  # names of features
    hidden_size: int = 64
    layers: int = 1
    heads: int = 2
    dropout: float = 0.2
    ranks: int = 10
    history: int = 20


@dataclass(frozen=True)
class Batch:
    """n slates as tensors, padded to the longest."""

    candidates: Tensor  # float [n, K, vector_size], in input order
    inputs: Tensor  # float [n, K, inputs]
    mask: Tensor  # bool [n, K], false where a slate is padded
    history: Tensor  # float [n, H, vector_size], newest first
    history_mask: Tensor  # bool [n, H]


class PRM(PreTrainedModel):
    config_class = PRMConfig

    def __init__(self, config: PRMConfig):
        super().__init__(config)
        size = config.hidden_size
        self.item = nn.Linear(config.vector_size, size)
        self.rank = nn.Embedding(config.ranks, size) if config.ranks else None
        self.recency = nn.Embedding(config.history, size)
        self.preference = nn.MultiheadAttention(size, config.heads, config.dropout, batch_first=True)
        self.register_buffer("mean", torch.zeros(len(config.inputs)))  # of the inputs, on the train slates
        self.register_buffer("scale", torch.ones(len(config.inputs)))
        self.inputs = nn.Linear(len(config.inputs), size, bias=False)
        self.norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            size, config.heads, 4 * size, config.dropout, activation="gelu", batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.output = nn.Linear(size, 1, bias=False)
        if config.features:
            self.residual = nn.Parameter(torch.ones(1))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def scores(self, batch: Batch) -> Tensor:
        """Float [n, K], -inf where a slate is padded."""
        items = self.item(batch.candidates)
        history = self.item(batch.history) + self.recency.weight[: batch.history.shape[1]]
        ignored = ~batch.history_mask
        preference, _ = self.preference(items, history, history, key_padding_mask=ignored, need_weights=False)
        inputs = (batch.inputs - self.mean) / self.scale
        states = items + preference
        if self.rank:
            ranks = torch.arange(items.shape[1], device=items.device)
            states = states + self.rank(ranks.clamp(max=self.config.ranks - 1))
        states = self.dropout(self.norm(states + self.inputs(inputs)))
        scores = self.output(self.layers(states, src_key_padding_mask=~batch.mask)).squeeze(2)
        if self.config.features:
            scores = scores + self.residual * inputs[..., self.config.inputs.index("score")]
        return scores.masked_fill(~batch.mask, -torch.inf)

    def forward(
        self, candidates: Tensor, inputs: Tensor, mask: Tensor, history: Tensor, history_mask: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """labels: float [n, K], 0 or more, some above 0 in each row; the others are a `Batch`.

        Returns the listwise softmax cross-entropy (labels as shares of their sum); when evaluating also NDCG@5, float
        [n].
        """
        scores = self.scores(Batch(candidates, inputs, mask, history, history_mask))
        shares = labels / labels.sum(1, keepdim=True)
        losses = -(shares * scores.log_softmax(1).masked_fill(~mask, 0)).sum(1)
        result = {"loss": losses.mean()}
        if not self.training:
            ranked = labels.gather(1, scores.argsort(dim=1, descending=True, stable=True))
            result["ndcg"] = torch.from_numpy(ndcg(ranked.cpu().numpy(), 5)).to(scores.device)
        return result


@dataclass(frozen=True)
class SlateRows:
    """A slate as rows of the item vectors."""

    candidates: np.ndarray  # int [K]
    history: np.ndarray  # int [H], newest first
    inputs: np.ndarray  # float [K, inputs]
    labels: np.ndarray  # float [K], or [0] where the slate has none


def encode(slates: Sequence[Slate], features: Features, config: PRMConfig) -> list[SlateRows]:
    return [
        SlateRows(
            candidates=np.array([features.row[item_id] for item_id in slate.candidates]),
            history=np.array([features.row[item_id] for item_id in slate.history[: -config.history - 1 : -1]]),
            inputs=inputs,
            labels=np.array(slate.labels),
        )
        for slate, inputs in zip(slates, features.compute(slates, config.inputs), strict=True)
    ]


def make_batch(slates: list[SlateRows], vectors: np.ndarray) -> Batch:
    candidates = pad([slate.candidates for slate in slates], -1)
    history = pad([slate.history for slate in slates], -1)
    inputs = np.zeros((*candidates.shape, slates[0].inputs.shape[1]))
    inputs[candidates >= 0] = np.concatenate([slate.inputs for slate in slates])
    return Batch(
        candidates=torch.from_numpy(vectors[candidates]).float(),
        inputs=torch.from_numpy(inputs).float(),
        mask=torch.from_numpy(candidates >= 0),
        history=torch.from_numpy(vectors[history]).float(),
        history_mask=torch.from_numpy(history >= 0),
    )
