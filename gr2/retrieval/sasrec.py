"""SASRec (Kang and McAuley 2018, 1808.09781): a causal Transformer over a user's items that scores every item as the
next.

Trained with cross-entropy over the whole catalogue instead of the paper's one sampled negative: with it the model
stands above most generative recommenders' tables. Layers are post-norm with GELU, as in RecBole, not pre-norm with
ReLU.
"""

from pathlib import Path

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from gr2.arrays import pad
from gr2.errors import InputError
from gr2.files.artifacts import read_json
from gr2.files.items import order_digest
from gr2.retrieval.queries import Queries, Ranker, Top, best

IGNORED = -100
BLOCK = 512  # queries scored at a time by `ranker`
CHUNK = 64  # targets whose scores of all items are held at a time by the loss: they stay in the cache


class SASRecConfig(PretrainedConfig):
    """`items_digest` says for which items file, in which order, the rows are; `exclude_seen`, whether `rank` leaves out
    what the user's past holds.
    """

    model_type = "sasrec"

    def __init__(
        self,
        n_items: int = 1,
        hidden_size: int = 64,
        layers: int = 2,
        heads: int = 2,
        dropout: float = 0.5,
        length: int = 50,
        items_digest: str = "",
        exclude_seen: bool = True,
        **others,
    ):
        super().__init__(**others)
        self.n_items, self.hidden_size, self.layers, self.heads = n_items, hidden_size, layers, heads
        self.dropout, self.length = dropout, length
        self.items_digest, self.exclude_seen = items_digest, exclude_seen


class SASRec(PreTrainedModel):
    """Item rows are 1 to n_items inside, 0 pads; outside they are those of the items file, -1 pads."""

    config_class = SASRecConfig

    def __init__(self, config: SASRecConfig):
        super().__init__(config)
        self.item = nn.Embedding(config.n_items + 1, config.hidden_size, padding_idx=0)
        self.position = nn.Embedding(config.length, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        sizes = config.hidden_size, config.heads, 4 * config.hidden_size
        layer = nn.TransformerEncoderLayer(*sizes, config.dropout, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx])
        if isinstance(module, nn.MultiheadAttention):
            nn.init.normal_(module.in_proj_weight, std=0.02)

    def encode(self, items: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """items: int [n, time], -1 pads on the right. place: int [n, time], an item's place in its user's sequence,
        from 0: where it is 0 another user's sequence begins, which the rest of the row does not see. Returns the state
        after each item, [n, time, hidden_size].
        """
        time, user = items.shape[1], (place == 0).cumsum(1)
        states = self.dropout(self.norm(self.item(items + 1) + self.position(place)))
        later = torch.ones(time, time, dtype=torch.bool, device=items.device).triu(1)
        hidden = later | (user[:, :, None] != user[:, None])
        return self.layers(states, mask=hidden.repeat_interleave(self.config.heads, 0))

    def scores(self, states: torch.Tensor) -> torch.Tensor:
        """States [n, hidden_size] -> scores of all items, [n, n_items]."""
        return states @ self.item.weight[1:].T

    def forward(
        self, items: torch.Tensor, place: torch.Tensor, labels: torch.Tensor, past: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """items, place: as for `encode`; labels: int [n, time], the item that came next, or -100.

        Returns the mean loss; when evaluating, with one label a row, also `rank`, int [n]: how many items (with
        `exclude_seen`: that are not in `past`, int [n, longest], the user's whole past, -1 pads) score more than the
        label.
        """
        mask = labels != IGNORED
        states, target = self.encode(items, place)[mask], labels[mask]
        if self.training:
            return {"loss": CatalogueLoss.apply(states, self.item.weight[1:], target)}
        scores = self.scores(states)
        loss = nn.functional.cross_entropy(scores, target)
        if self.config.exclude_seen:
            scores = scores.scatter(1, torch.where(past < 0, past[:, :1], past), -torch.inf)
        return {"loss": loss, "rank": (scores > scores.gather(1, target[:, None])).sum(1)}


class CatalogueLoss(torch.autograd.Function):
    """Mean cross-entropy of states [n, hidden] against all items [items, hidden], with its gradients computed on the
    way, a chunk of states at a time: [n, items] is never held. On two cores a third of the time of the plain way.
    """

    @staticmethod
    def forward(ctx, states: torch.Tensor, table: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        states_gradient, table_gradient = torch.empty_like(states), torch.zeros_like(table)
        total = states.new_zeros(())
        for part, wanted, gradient in zip(
            states.split(CHUNK), target.split(CHUNK), states_gradient.split(CHUNK), strict=True
        ):
            scores = part @ table.T
            norm = scores.logsumexp(1, keepdim=True)
            total += (norm - scores.gather(1, wanted[:, None])).sum()
            scores.sub_(norm).exp_().scatter_add_(1, wanted[:, None], -torch.ones_like(norm))  # probability - 1[target]
            gradient.copy_(scores @ table)
            table_gradient += scores.T @ part
        ctx.save_for_backward(states_gradient / len(states), table_gradient / len(states))
        return total / len(states)

    @staticmethod
    def backward(ctx, upstream: torch.Tensor):
        states_gradient, table_gradient = ctx.saved_tensors
        return upstream * states_gradient, upstream * table_gradient, None


def load(folder: str | Path, item_ids: pl.Series) -> SASRec:
    """The model that `gr2 sasrec` trained on these items; InputError for another folder or other items."""
    shape = Path(folder) / "config.json"
    if not shape.exists() or read_json(shape).get("model_type") != SASRecConfig.model_type:
        raise InputError(f"{folder}: expected a folder that `gr2 sasrec` wrote")
    try:
        model = SASRec.from_pretrained(folder)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder}: no loadable SASRec ({str(error).splitlines()[0]})") from None
    if model.config.items_digest != order_digest(item_ids):
        raise InputError(f"{folder}: it was trained on other items, or another order, than the items file")
    return model


def read_vectors(folder: str | Path, item_ids: pl.Series) -> torch.Tensor:
    """The item vectors of a trained model, float [items, hidden_size]; InputError as for `load`."""
    return load(folder, item_ids).item.weight[1:].detach()


def ranker(model: SASRec, count: int, exclude_seen: bool) -> Ranker:
    """The trained model as a pre-ranker; it reads the last `length` items."""
    model.eval().to("cuda" if torch.cuda.is_available() else "cpu")

    def block_top(queries: Queries) -> Top:
        history = queries.history(model.config.length)
        lengths = (history >= 0).sum(1)
        items = pad([row[row >= 0] for row in history], -1)
        with torch.inference_mode():
            items = torch.from_numpy(items).long().to(model.device)
            place = torch.arange(items.shape[1], device=model.device).expand_as(items)
            last = model.encode(items, place)[torch.arange(len(items)), torch.from_numpy(lengths) - 1]
            scores = model.scores(last).float().cpu().numpy()
        return best(scores, queries, count, exclude_seen)

    def rank(queries: Queries) -> Top:
        top, scores = zip(*map(block_top, queries.blocks(BLOCK)), strict=True)
        return np.concatenate(top), np.concatenate(scores)

    return rank
