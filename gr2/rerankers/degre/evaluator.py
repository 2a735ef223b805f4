"""The Lookahead Evaluator of DeGRe (2605.25749): how many items of a list, read from its start, will be relevant.

Attention among an item's fields, here the codes of its semantic ID, then a causal Transformer over the list that
attends to the user's history, then a head with P(V >= k) for k = 1 .. list_size, V = relevant items so far. The value
of a prefix is its expected V, sum_k P(V >= k). The loss is binary cross-entropy on 1[V >= k] at every prefix; its form
is not published: ours, as are the sizes and that k <= length is given, not learned.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus
from transformers import PretrainedConfig, PreTrainedModel

from gr2.data.catalogue import Catalogue
from gr2.rerankers.list_writer.batch import NONE, Requests
from gr2.rerankers.list_writer.layers import Attention, Cache, Decoder, Encoder
from gr2.rerankers.record import check_ids, check_kind


class EvaluatorConfig(PretrainedConfig):
    """levels, codes: of the semantic IDs; list_size, history: the longest list and history that it reads."""

    model_type = "lookahead_evaluator"

    levels: int = 2
    codes: int = 256
    list_size: int = 6
    history: int = 50
    hidden_size: int = 64
    heads: int = 4
    encoder_layers: int = 1
    decoder_layers: int = 1
    dropout: float = 0.1


class Evaluator(PreTrainedModel):
    config_class = EvaluatorConfig

    def __init__(self, config: EvaluatorConfig):
        super().__init__(config)
        size = config.hidden_size
        self.code = nn.Embedding(config.levels * config.codes, size)
        self.fields = Attention(size, config.heads)
        self.recency = nn.Embedding(max(1, config.history), size)
        self.anyone = nn.Parameter(torch.zeros(size))  # the history's first position: a user without any has this one
        self.step = nn.Embedding(config.list_size, size)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = Encoder(size, config.heads, config.encoder_layers, config.dropout)
        self.decoder = Decoder(size, config.heads, config.decoder_layers, config.dropout)
        self.head = nn.Linear(size, config.list_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def items(self, codes: Tensor) -> Tensor:
        """Codes int64 [n, items, levels] -> float [n, items, size]; arbitrary for padding (code NONE)."""
        offset = torch.arange(self.config.levels, device=codes.device) * self.config.codes
        fields = self.code(codes.clamp(min=0) + offset).flatten(0, 1)
        return (fields + self.fields(fields, *self.fields.keys(fields))).sum(1).unflatten(0, codes.shape[:2])

    def encode(self, requests: Requests) -> tuple[Cache, Tensor]:
        """The users' memory, which lists attend to, and its mask, bool [n, 1 + H]."""
        history = self.items(requests.history) + self.recency.weight[: requests.history.shape[1]]
        states = torch.cat([self.anyone.expand(len(history), 1, -1), history], 1)
        mask = torch.cat([requests.history_mask.new_ones(len(history), 1), requests.history_mask], 1)
        states = self.encoder(self.dropout(states), mask)
        return self.decoder.memory(states), mask

    def logits(self, states: Tensor) -> Tensor:
        """States [..., size] -> logits of P(V >= k), float [..., list_size], decreasing in k."""
        raw = self.head(states)
        decreases = torch.cat([torch.zeros_like(raw[..., :1]), softplus(raw[..., 1:])], -1)
        return raw[..., :1] - decreases.cumsum(-1)

    def possible(self, lengths: Tensor) -> Tensor:
        """Lengths [t] -> bool [t, list_size]: a prefix has no more relevant items than items."""
        return torch.arange(1, self.config.list_size + 1, device=lengths.device) <= lengths[:, None]

    def prefix_logits(self, requests: Requests, lists: Tensor) -> Tensor:
        """Logits of P(V >= k) after every item of lists of indices int64 [n, lists, m]: [n, lists, m, list_size]."""
        memory, mask = self.encode(requests)
        index = lists.clamp(min=0).flatten(1)[..., None].expand(-1, -1, self.config.levels)
        items = self.items(requests.candidates.gather(1, index)).view(-1, lists.shape[2], self.config.hidden_size)
        states, _ = self.decoder(self.dropout(items + self.step.weight[: lists.shape[2]]), memory, mask)
        return self.logits(states).unflatten(0, lists.shape[:2])

    def probabilities(self, logits: Tensor, lengths: Tensor) -> Tensor:
        """Logits [..., t, list_size] of prefixes of these lengths [t] -> P(V >= k); their sum is V."""
        return logits.sigmoid() * self.possible(lengths)

    def forward(self, history: Tensor, candidates: Tensor, lists: Tensor, outcomes: Tensor) -> dict[str, Tensor]:
        """lists: int64 [n, lists, m] of indices, NONE past an end; outcomes: int64 [n, lists, m], V of every prefix.

        Returns the loss, and `probabilities` float [n, lists, list_size], P(V >= k) of the whole lists.
        """
        logits, mask = self.prefix_logits(Requests(history, candidates), lists), (lists != NONE)[..., None]
        lengths = torch.arange(1, lists.shape[2] + 1, device=lists.device)
        reached = outcomes[..., None] >= torch.arange(1, self.config.list_size + 1, device=lists.device)
        losses = binary_cross_entropy_with_logits(logits, reached.to(logits.dtype), reduction="none")
        counted = mask & self.possible(lengths)
        last = mask.sum(2, keepdim=True).expand(-1, -1, -1, self.config.list_size) - 1
        return {
            "loss": (losses * counted).sum() / counted.sum(),
            "probabilities": self.probabilities(logits, lengths).gather(2, last).squeeze(2),
        }


def open_evaluator(folder: str, catalogue: Catalogue) -> Evaluator:
    """InputError where the folder holds no evaluator, or one of other items or semantic IDs."""
    check_kind(folder, "evaluator", "evaluator")
    check_ids(folder, catalogue)
    return Evaluator.from_pretrained(folder).eval()
