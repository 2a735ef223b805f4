"""The network that writes lists, with the action space of GloRank (2604.25291) or the local ones it is compared with.

A bidirectional encoder reads history and candidates as sums of their codes' vectors; a causal decoder, started from a
projection of the history, writes the list. In the `global` space an action is a code, an item takes one action per
level, and an output neuron means the same code in every request. In a local space an action is one of the request's
candidates: by `place`, output neuron j stands for the request's j-th candidate, the setting that GloRank's paper
argues against; by `pointer`, an action's logit is a product with the candidate's own state, as in Seq2Slate
(1810.02019, whose network is an LSTM) and in DeGRe's Online Generator (2605.25749). All else is shared. Sizes are not
published: ours.

Two switches of the global space: with `shared` an output neuron's weights are the code's own vector, one table for
input and output; with `look_ahead` (ours) a code's logit also counts the candidates that it leads to. Without it the
first code is chosen by what the code means, not by which of its items is here.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from gr2.rerankers.list_writer.batch import NONE, EncodedRequests, Requests, canonical_order, from_request
from gr2.rerankers.list_writer.codes import CodeVectors
from gr2.rerankers.list_writer.layers import Decoder, Encoder
from gr2.rerankers.list_writer.trie import admitted, pool

Space = Literal["global", "place", "pointer"]
SPACES = get_args(Space)


class ListWriterConfig(PretrainedConfig):
    """levels, codes: of the semantic IDs; candidates, list_size, history: the most of each in a request; known: how
    many numbers are known of each code while it trains. Of the space global: shared: output neurons are the codes'
    vectors; look_ahead: a code's logit counts the candidates that it leads to.
    """

    model_type = "list_writer"

    levels: int = 2
    codes: int = 256
    space: Space = "global"
    candidates: int = 50
    list_size: int = 6
    history: int = 50
    known: int = 0
    shared: bool = False
    look_ahead: bool = False
    hidden_size: int = 64
    heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 1
    dropout: float = 0.1

    @property
    def actions(self) -> int:
        """Actions per item."""
        return self.levels if self.space == "global" else 1


class ListWriter(PreTrainedModel):
    config_class = ListWriterConfig

    def __init__(self, config: ListWriterConfig):
        super().__init__(config)
        size = config.hidden_size
        self.code = CodeVectors(config.levels * config.codes, size, config.known)
        self.recency = nn.Embedding(max(1, config.history), size)
        self.candidate = nn.Parameter(torch.zeros(size))
        self.user = nn.Linear(size, size)
        self.step = nn.Embedding(config.list_size * config.actions, size)
        if config.space == "place":
            self.place = nn.Embedding(config.candidates, size)  # output j must know which candidate is at position j
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = Encoder(size, config.heads, config.encoder_layers, config.dropout)
        self.decoder = Decoder(size, config.heads, config.decoder_layers, config.dropout)
        codes = size if config.shared else config.codes
        outputs = {"global": [codes] * config.levels, "place": [config.candidates], "pointer": [size]}
        self.heads = nn.ModuleList(nn.Linear(size, width) for width in outputs[config.space])
        if config.look_ahead:
            self.ahead = nn.ModuleList(nn.Linear(size, size) for _ in range(config.levels))
        self.post_init()
        if config.look_ahead:  # it starts as a pointer, and learns what codes mean everywhere
            for head in self.heads:
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def fold(self) -> None:
        """Makes the codes' vectors a plain table, once the network is trained."""
        self.code.fold()
        self.config.known = 0

    def items(self, codes: Tensor) -> Tensor:
        """Codes int64 [..., levels] -> float [..., size]; padding (code NONE) returns arbitrary values: mask them."""
        offset = torch.arange(self.config.levels, device=codes.device) * self.config.codes
        return self.code(codes.clamp(min=0) + offset).sum(-2)

    def encode(self, requests: Requests) -> EncodedRequests:
        """Reads candidates sorted by codes, so their order in the request changes nothing; by `place` in that order."""
        n, count = requests.mask.shape
        by_place = self.config.space == "place"
        given = torch.arange(count, device=requests.candidates.device).expand(n, -1)
        order = given if by_place else canonical_order(requests.candidates)
        codes = requests.candidates.gather(1, order[..., None].expand_as(requests.candidates))
        mask = codes[..., 0] != NONE
        vectors = self.items(codes)
        candidates = vectors + self.candidate
        if by_place:
            candidates = candidates + self.place.weight[:count]
        history = self.items(requests.history) + self.recency.weight[: requests.history.shape[1]]
        memory_mask = torch.cat([mask, requests.history_mask], 1)
        states = self.encoder(self.dropout(torch.cat([candidates, history], 1)), memory_mask)
        user = (requests.history_mask[..., None] * states[:, count:]).sum(1, keepdim=True)
        start = self.user(user / requests.history_mask.sum(1).clamp(min=1)[:, None, None])
        memory = self.decoder.memory(states)
        return EncodedRequests(codes, order, mask, vectors, states[:, :count], start, memory, memory_mask)

    def logits(self, states: Tensor, encoded: EncodedRequests, action: int, left: Tensor) -> Tensor:
        """Decoder states [n, t, size], all at an item's `action` (from 0) -> logits [n, t, codes or candidates].

        left: bool [n, t, K], the candidates that the actions before this one leave.
        """
        if self.config.space == "place":
            return self.heads[0](states)[..., : encoded.mask.shape[1]]
        if self.config.space == "pointer":
            return self.point(self.heads[0](states), encoded)
        logits = self.heads[action](states)
        if self.config.shared:
            logits = logits @ self.code.table.unflatten(0, (self.config.levels, -1))[action].T
        if self.config.look_ahead:
            scores = self.point(self.ahead[action](states), encoded)
            logits = logits + pool(scores, encoded.codes[..., action], left, self.config.codes)
        return logits

    def point(self, queries: Tensor, encoded: EncodedRequests) -> Tensor:
        """Queries [n, t, size] -> their products with the candidates' states, float [n, t, K]."""
        return queries @ encoded.states.transpose(1, 2) / self.config.hidden_size**0.5

    def inputs(self, encoded: EncodedRequests, lists: Tensor) -> Tensor:
        """The decoder's inputs [n, m * actions, size]: the start, then every action of lists [n, m] but the last."""
        index = lists.clamp(min=0)[..., None]
        if self.config.space == "global":
            codes = encoded.codes.gather(1, index.expand(-1, -1, self.config.levels))
            offset = torch.arange(self.config.levels, device=codes.device) * self.config.codes
            written = self.code(codes.clamp(min=0) + offset).flatten(1, 2)
        else:
            written = encoded.vectors.gather(1, index.expand(-1, -1, self.config.hidden_size))
        return torch.cat([encoded.start, written[:, :-1]], 1) + self.step.weight[: written.shape[1]]

    def states(self, encoded: EncodedRequests, lists: Tensor) -> Tensor:
        """Decoder states that choose each item of lists [n, m]: [n, m, actions, size]."""
        states, _ = self.decoder(self.dropout(self.inputs(encoded, lists)), encoded.memory, encoded.memory_mask)
        return states.unflatten(1, (lists.shape[1], self.config.actions))

    def log_probs(self, encoded: EncodedRequests, lists: Tensor) -> Tensor:
        """Lists int64 [n, m] of indices in the order read, NONE past a list's end -> log P of each item among the
        candidates that remain, float [n, m], 0 past the end.
        """
        if self.config.space == "global":
            return self.log_probs_of_codes(encoded, lists).masked_fill(lists == NONE, 0.0)
        logps = self.distributions(encoded, lists).gather(-1, lists.clamp(min=0)[..., None]).squeeze(-1)
        return logps.masked_fill(lists == NONE, 0.0)

    def distributions(self, encoded: EncodedRequests, lists: Tensor) -> Tensor:
        """Local spaces: log P of every candidate at each position of lists [n, m], float [n, m, K], lowest if taken."""
        left = remaining(encoded.mask, lists)
        logits = self.logits(self.states(encoded, lists)[:, :, 0], encoded, 0, left)
        return logits.masked_fill(~left, torch.finfo(logits.dtype).min).log_softmax(-1)

    def log_probs_of_codes(self, encoded: EncodedRequests, lists: Tensor) -> Tensor:
        states, left = self.states(encoded, lists), remaining(encoded.mask, lists)
        targets = encoded.codes.gather(1, lists.clamp(min=0)[..., None].expand(-1, -1, self.config.levels))
        total = torch.zeros(lists.shape, device=states.device)
        for level in range(self.config.levels):
            logits, target = self.logits(states[:, :, level], encoded, level, left), targets[..., level]
            allowed = admitted(encoded.codes[..., level], left, self.config.codes)
            left = left & (encoded.codes[:, None, :, level] == target[..., None])
            logps = logits.masked_fill(~allowed, torch.finfo(logits.dtype).min).log_softmax(-1)
            total = total + logps.gather(-1, target.clamp(min=0)[..., None]).squeeze(-1)
        return total

    def forward(self, history: Tensor, candidates: Tensor, lists: Tensor) -> dict[str, Tensor]:
        """lists: int64 [n, m], indices in the request's order, NONE past an end. The loss: mean -log P."""
        encoded = self.encode(Requests(history, candidates))
        logps = self.log_probs(encoded, from_request(lists, encoded.order))
        return {"loss": -logps.sum() / (lists != NONE).sum()}


def remaining(mask: Tensor, lists: Tensor) -> Tensor:
    """Candidates' mask [n, K], lists [n, m] -> bool [n, m, K]: which candidates are left before each item is chosen."""
    taken = torch.zeros(*lists.shape, mask.shape[1], dtype=torch.int32, device=mask.device)
    taken.scatter_(2, lists.clamp(min=0)[..., None], (lists != NONE).int()[..., None])
    before = taken.cumsum(1) - taken
    return mask[:, None] & (before == 0)
