"""The Lookahead Evaluator of DeGRe (2605.25749): how many items of a list, read from its start, will be relevant.

Attention among an item's fields, then a causal Transformer over the list that attends to the request, then a head with
P(V >= k) for k = 1 .. list_size, V = relevant items so far. The value of a prefix is its expected V, sum_k P(V >= k).
Fields are the codes of an item's semantic ID, its vector by a pre-ranker and, of a candidate, its features, where they
are given. The loss is binary cross-entropy on 1[V >= k] at every prefix; its form is not published: ours, as are the
sizes, the fields, that k <= length is given, not learned, and that the request holds the slate's other candidates
beside the user's history: what is the best of a slate depends on them, as in PRM.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus
from transformers import PretrainedConfig, PreTrainedModel

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.rerankers.degre.inputs import EvaluatorInput
from gr2.rerankers.list_writer.batch import NONE
from gr2.rerankers.list_writer.codes import CodeVectors
from gr2.rerankers.list_writer.layers import Attention, Cache, Decoder, Encoder
from gr2.rerankers.record import check_ids, check_kind


class EvaluatorConfig(PretrainedConfig):
    """items, levels, codes: of the catalogue; known: how many numbers are known of each code while it trains;
    vector_size: of the items' vectors, 0 without; features: the names of those that it reads; list_size, history: the
    longest list and history that it reads.
    """

    model_type = "lookahead_evaluator"

    items: int = 0
    levels: int = 2
    codes: int = 256
    known: int = 0
    vector_size: int = 0
    features: tuple[str, ...] = ()
    list_size: int = 6
    history: int = 50
    hidden_size: int = 64
    heads: int = 4
    encoder_layers: int = 1
    decoder_layers: int = 1
    dropout: float = 0.1
    context: bool = True


class Evaluator(PreTrainedModel):
    config_class = EvaluatorConfig

    def __init__(self, config: EvaluatorConfig):
        super().__init__(config)
        size = config.hidden_size
        # What is known of the catalogue's items and of the train slates' features; not trained.
        self.register_buffer("ids", torch.zeros(config.items, config.levels, dtype=torch.int64))
        self.register_buffer("vectors", torch.zeros(config.items, config.vector_size))
        self.register_buffer("mean", torch.zeros(len(config.features)))
        self.register_buffer("scale", torch.ones(len(config.features)))
        self.code = CodeVectors(config.levels * config.codes, size, config.known)
        if config.vector_size:
            self.vector = nn.Linear(config.vector_size, size)
        if config.features:
            self.feature = nn.Linear(len(config.features), size)
        self.candidate = nn.Parameter(torch.zeros(size))
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

    def fold(self) -> None:
        """Makes the codes' vectors a plain table, once the network is trained."""
        self.code.fold()
        self.config.known = 0

    def items(self, rows: Tensor, features: Tensor | None = None) -> Tensor:
        """Rows int64 [n, items], and features of candidates -> float [n, items, size]; arbitrary for padding."""
        rows = rows.clamp(min=0)
        offset = torch.arange(self.config.levels, device=rows.device) * self.config.codes
        fields = [self.code(self.ids[rows] + offset)]
        if self.config.vector_size:
            fields.append(self.vector(self.vectors[rows])[..., None, :])
        if self.config.features and features is not None:
            fields.append(self.feature((features - self.mean) / self.scale)[..., None, :])
        joined = torch.cat(fields, 2).flatten(0, 1)
        return (joined + self.fields(joined, *self.fields.keys(joined))).sum(1).unflatten(0, rows.shape)

    def encode(self, seen: EvaluatorInput) -> tuple[Tensor, Cache, Tensor]:
        """The candidates, float [n, K, size]; the memory that lists attend to, and its mask, bool [n, 1 + H + K]."""
        history = self.items(seen.history) + self.recency.weight[: seen.history.shape[1]]
        first = self.anyone.expand(len(history), 1, -1)
        if not self.config.context:
            items = self.items(seen.candidates, seen.features)
            mask = torch.cat([seen.mask.new_ones(len(history), 1), seen.history != NONE], 1)
            states = self.encoder(self.dropout(torch.cat([first, history], 1)), mask)
            return items, self.decoder.memory(states), mask
        candidates = self.items(seen.candidates, seen.features) + self.candidate
        mask = torch.cat([seen.mask.new_ones(len(history), 1), seen.history != NONE, seen.mask], 1)
        states = self.encoder(self.dropout(torch.cat([first, history, candidates], 1)), mask)
        return states[:, 1 + history.shape[1] :], self.decoder.memory(states), mask

    def logits(self, states: Tensor) -> Tensor:
        """States [..., size] -> logits of P(V >= k), float [..., list_size], decreasing in k."""
        raw = self.head(states)
        decreases = torch.cat([torch.zeros_like(raw[..., :1]), softplus(raw[..., 1:])], -1)
        return raw[..., :1] - decreases.cumsum(-1)

    def possible(self, lengths: Tensor) -> Tensor:
        """Lengths [t] -> bool [t, list_size]: a prefix has no more relevant items than items."""
        return torch.arange(1, self.config.list_size + 1, device=lengths.device) <= lengths[:, None]

    def prefix_logits(self, seen: EvaluatorInput, lists: Tensor) -> Tensor:
        """Logits of P(V >= k) after every item of lists of indices int64 [n, lists, m]: [n, lists, m, list_size]."""
        candidates, memory, mask = self.encode(seen)
        index = lists.clamp(min=0).flatten(1)[..., None].expand(-1, -1, self.config.hidden_size)
        items = candidates.gather(1, index).view(-1, lists.shape[2], self.config.hidden_size)
        states, _ = self.decoder(self.dropout(items + self.step.weight[: lists.shape[2]]), memory, mask)
        return self.logits(states).unflatten(0, lists.shape[:2])

    def probabilities(self, logits: Tensor, lengths: Tensor) -> Tensor:
        """Logits [..., t, list_size] of prefixes of these lengths [t] -> P(V >= k); their sum is V."""
        return logits.sigmoid() * self.possible(lengths)

    def forward(
        self, history: Tensor, candidates: Tensor, features: Tensor, lists: Tensor, outcomes: Tensor
    ) -> dict[str, Tensor]:
        """lists: int64 [n, lists, m] of indices, NONE past an end; outcomes: int64 [n, lists, m], V of every prefix.

        Returns the loss, and `probabilities` float [n, lists, list_size], P(V >= k) of the whole lists.
        """
        logits = self.prefix_logits(EvaluatorInput(history, candidates, features), lists)
        mask = (lists != NONE)[..., None]
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
    if not EvaluatorConfig.from_pretrained(folder).items:
        raise InputError(f"{folder}: it was fitted by an earlier gr2; run `gr2 fit evaluator` again")
    return Evaluator.from_pretrained(folder).eval()
