"""The network that writes lists, with the action space of GloRank (2604.25291) or the local ones it is compared with.

A bidirectional encoder reads history and candidates as sums of their codes' vectors; a causal decoder, started from a projection
of the history, writes the list. In the `global` space an action is a code, an item is as many actions as it has levels, and an
output neuron means the same code in every request. In a local space an action is one of the request's candidates: by `place`,
output neuron j stands for whatever is the j-th candidate of this request, the setting that GloRank's paper argues against; by
`pointer`, an action's logit is a product with the candidate's own state, as in Seq2Slate (1810.02019, whose network is an LSTM)
and in DeGRe's Online Generator (2605.25749). Everything else is the same network. Sizes are not published: ours.
"""

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from gr2.rerankers.list_writer.batch import NONE, Requests, canonical
from gr2.rerankers.list_writer.layers import Decoder, Encoder

SPACES = ("global", "place", "pointer")


class ListWriterConfig(PretrainedConfig):
    """levels, codes: of the semantic IDs; candidates, list_size, history: the most that a request may have of each."""

    model_type = "list_writer"

    def __init__(
        self,
        levels: int = 2,
        codes: int = 256,
        space: str = "global",
        candidates: int = 50,
        list_size: int = 6,
        history: int = 50,
        hidden_size: int = 64,
        heads: int = 4,
        encoder_layers: int = 2,
        decoder_layers: int = 1,
        dropout: float = 0.1,
        **others,
    ):
        super().__init__(**others)
        self.levels, self.codes, self.space = levels, codes, space
        self.candidates, self.list_size, self.history = candidates, list_size, history
        self.hidden_size, self.heads, self.dropout = hidden_size, heads, dropout
        self.encoder_layers, self.decoder_layers = encoder_layers, decoder_layers

    @property
    def actions(self) -> int:
        """Actions an item takes."""
        return self.levels if self.space == "global" else 1


class Encoded(dict):
    """What the decoder needs of requests: `codes`, `vectors` and `states` of the candidates in the order read, `order` of that in
    the request's, `there`, the `memory` of all places with `seen`, and the `start` [n, 1, size]."""


class ListWriter(PreTrainedModel):
    config_class = ListWriterConfig

    def __init__(self, config: ListWriterConfig):
        super().__init__(config)
        size = config.hidden_size
        self.code = nn.Embedding(config.levels * config.codes, size)
        self.recency = nn.Embedding(max(1, config.history), size)
        self.candidate = nn.Parameter(torch.zeros(size))
        self.user = nn.Linear(size, size)
        self.step = nn.Embedding(config.list_size * config.actions, size)
        if config.space == "place":
            self.place = nn.Embedding(config.candidates, size)  # or a neuron could not know whom it stands for
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = Encoder(size, config.heads, config.encoder_layers, config.dropout)
        self.decoder = Decoder(size, config.heads, config.decoder_layers, config.dropout)
        outputs = {"global": [config.codes] * config.levels, "place": [config.candidates], "pointer": [size]}
        self.heads = nn.ModuleList(nn.Linear(size, width) for width in outputs[config.space])
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def items(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes int64 [..., levels] -> float [..., size]; what stands for no item is of no account."""
        offset = torch.arange(self.config.levels, device=codes.device) * self.config.codes
        return self.code(codes.clamp(min=0) + offset).sum(-2)

    def encode(self, requests: Requests) -> Encoded:
        """Reads candidates sorted by their codes, so that their order in the request changes nothing at all; by `place` as they
        stand.
        """
        n, count = requests.there.shape
        by_place = self.config.space == "place"
        places = torch.arange(count, device=requests.candidates.device).expand(n, -1)
        order = places if by_place else canonical(requests.candidates)
        codes = requests.candidates.gather(1, order[..., None].expand_as(requests.candidates))
        vectors = self.items(codes)
        own = vectors + self.candidate
        if by_place:
            own = own + self.place.weight[:count]
        past = self.items(requests.history) + self.recency.weight[: requests.history.shape[1]]
        seen = torch.cat([codes[..., 0] != NONE, requests.past], 1)
        states = self.encoder(self.dropout(torch.cat([own, past], 1)), seen)
        read = requests.past[..., None] * states[:, count:]
        start = self.user(read.sum(1, keepdim=True) / requests.past.sum(1).clamp(min=1)[:, None, None])
        return Encoded(codes=codes, vectors=vectors, states=states[:, :count], order=order, there=codes[..., 0] != NONE,
                       memory=self.decoder.memory(states), seen=seen, start=start)  # fmt: skip

    def logits(self, states: torch.Tensor, encoded: Encoded, action: int) -> torch.Tensor:
        """Decoder states [n, t, size], all at an item's action number `action` -> logits [n, t, codes or candidates]."""
        if self.config.space == "global":
            return self.heads[action](states)
        if self.config.space == "place":
            return self.heads[0](states)[..., : encoded["there"].shape[1]]
        return self.heads[0](states) @ encoded["states"].transpose(1, 2) / self.config.hidden_size**0.5

    def inputs(self, chosen: torch.Tensor, encoded: Encoded) -> torch.Tensor:
        """What the decoder reads: the start and then every action of lists [n, m] but the last. Returns [n, m * actions, size]."""
        at = chosen.clamp(min=0)[..., None]
        if self.config.space == "global":
            codes = encoded["codes"].gather(1, at.expand(-1, -1, self.config.levels))
            offset = torch.arange(self.config.levels, device=codes.device) * self.config.codes
            written = self.code(codes.clamp(min=0) + offset).flatten(1, 2)
        else:
            written = encoded["vectors"].gather(1, at.expand(-1, -1, self.config.hidden_size))
        return torch.cat([encoded["start"], written[:, :-1]], 1) + self.step.weight[: written.shape[1]]

    def states(self, encoded: Encoded, chosen: torch.Tensor) -> torch.Tensor:
        """Decoder states that choose each item of lists [n, m]: [n, m, actions, size]."""
        states, _ = self.decoder(self.dropout(self.inputs(chosen, encoded)), encoded["memory"], encoded["seen"])
        return states.unflatten(1, (chosen.shape[1], self.config.actions))

    def log_probs(self, encoded: Encoded, chosen: torch.Tensor) -> torch.Tensor:
        """Lists as places among the encoded candidates, int64 [n, m], NONE past a list's end -> log P of each item among the
        candidates that remain, float [n, m], 0 past the end.
        """
        if self.config.space == "global":
            return self.log_probs_of_codes(encoded, chosen).masked_fill(chosen == NONE, 0.0)
        logps = self.distributions(encoded, chosen).gather(-1, chosen.clamp(min=0)[..., None]).squeeze(-1)
        return logps.masked_fill(chosen == NONE, 0.0)

    def distributions(self, encoded: Encoded, chosen: torch.Tensor) -> torch.Tensor:
        """Local spaces: log P of every candidate at each place of lists [n, m], float [n, m, K], lowest where it is taken."""
        logits = self.logits(self.states(encoded, chosen)[:, :, 0], encoded, 0)
        return logits.masked_fill(~remaining(encoded["there"], chosen), torch.finfo(logits.dtype).min).log_softmax(-1)

    def log_probs_of_codes(self, encoded: Encoded, chosen: torch.Tensor) -> torch.Tensor:
        states, left = self.states(encoded, chosen), remaining(encoded["there"], chosen)
        target = encoded["codes"].gather(1, chosen.clamp(min=0)[..., None].expand(-1, -1, self.config.levels))
        total = torch.zeros(chosen.shape, device=states.device)
        for level in range(self.config.levels):
            logits, wanted = self.logits(states[:, :, level], encoded, level), target[..., level]
            allowed = admitted(encoded["codes"][..., level], left, self.config.codes)
            left = left & (encoded["codes"][:, None, :, level] == wanted[..., None])
            logps = logits.masked_fill(~allowed, torch.finfo(logits.dtype).min).log_softmax(-1)
            total = total + logps.gather(-1, wanted.clamp(min=0)[..., None]).squeeze(-1)
        return total

    def forward(self, history: torch.Tensor, candidates: torch.Tensor, lists: torch.Tensor) -> dict[str, torch.Tensor]:
        """lists: int64 [n, m], places in the request's order, NONE past an end. The loss is the mean of -log P of an item."""
        encoded = self.encode(Requests(history, candidates))
        logps = self.log_probs(encoded, placed(lists, encoded["order"]))
        return {"loss": -logps.sum() / (lists != NONE).sum()}


def placed(lists: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Places [n, m] in a request's own order -> places in the order in which it was read."""
    return order.argsort(1).gather(1, lists.clamp(min=0)).masked_fill(lists == NONE, NONE)


def remaining(there: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Candidates there [n, K], lists [n, m] -> bool [n, m, K], which are left before each item is chosen."""
    taken = torch.zeros(*chosen.shape, there.shape[1], dtype=torch.int32, device=there.device)
    taken.scatter_(2, chosen.clamp(min=0)[..., None], (chosen != NONE).int()[..., None])
    before = taken.cumsum(1) - taken
    return there[:, None] & (before == 0)


def admitted(codes: torch.Tensor, left: torch.Tensor, width: int) -> torch.Tensor:
    """A level's codes of the candidates [n, K], and which are left at each place [n, m, K] -> bool [n, m, width]: the codes
    with which a path of the request's trie goes on.
    """
    table = torch.zeros(*left.shape[:2], width, device=left.device)
    index = codes.clamp(min=0)[:, None].expand_as(left)
    return table.scatter_reduce_(2, index, left.float(), "amax").bool()
