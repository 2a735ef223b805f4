"""An encoder of requests, and a decoder with a cache that writes a list over an encoded request.

Pre-norm Transformer blocks (Xiong et al. 2020) on torch's own attention, with dropout on a block's output only: inside
attention and the wide layer it costs a third of a step on a CPU. Training runs whole lists at once; writing a list
feeds one position at a time and gives the same states, which tests check.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

KeyValue = tuple[Tensor, Tensor]  # each [n, heads, positions, size / heads]
Cache = list[KeyValue]  # of each layer


class Attention(nn.Module):
    """Multi-head attention that computes keys and values apart from queries, so that they can be cached."""

    def __init__(self, size: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.output = nn.Linear(size, size), nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)

    def keys(self, states: Tensor) -> KeyValue:
        """States [n, positions, size] -> keys and values."""
        key, value = self.key_value(states).chunk(2, -1)
        return self.split(key), self.split(value)

    def split(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, states: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """states: [n, t, size]; mask: bool, broadcast to [n, heads, t, positions], true: attended to."""
        if mask is not None:  # ONNX Runtime's attention does not repeat the row of all t itself
            mask = mask.expand(*mask.shape[:-2], states.shape[1], -1)
        attended = scaled_dot_product_attention(self.split(self.query(states)), key, value, mask)
        return self.output(attended.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Self-attention over the list, cross-attention to the request, feed-forward."""

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.own, self.request = Attention(size, heads), Attention(size, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(3))
        self.wide, self.narrow = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, states: Tensor, past: KeyValue | None, memory: KeyValue, mask: Tensor | None, memory_mask: Tensor
    ) -> tuple[Tensor, KeyValue]:
        normed = self.norms[0](states)
        key, value = self.own.keys(normed)
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        states = states + self.dropout(self.own(normed, key, value, mask))
        queries = self.norms[1](states).reshape(
            memory_mask.shape[0], -1, states.shape[2]
        )  # all lists of a request at once
        states = states + self.dropout(self.request(queries, *memory, memory_mask).view_as(states))
        return states + self.dropout(self.narrow(gelu(self.wide(self.norms[2](states))))), (key, value)


class Decoder(nn.Module):
    """Blocks over an encoded request."""

    def __init__(self, size: int, heads: int, layers: int, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleList(Block(size, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(size)

    def memory(self, states: Tensor) -> Cache:
        """Every block's keys and values of encoded requests [n, positions, size]."""
        return [block.request.keys(states) for block in self.blocks]

    def forward(
        self, states: Tensor, memory: Cache, memory_mask: Tensor, past: Cache | None = None, apart: bool = False
    ) -> tuple[Tensor, Cache]:
        """states: [n * lists, t, size], whole lists, or with `past` the one next position (t = 1), or `apart`, t
        alternatives for it that do not see each other; memory_mask: bool [n, positions] of the requests. A request's
        lists are adjacent.

        Returns states [n * lists, t, size] and the cache with these positions appended.
        """
        t, before = states.shape[1], past[0][0].shape[2] if past else 0
        mask = None
        if t > 1:
            mask = torch.ones(t, t, dtype=torch.bool, device=states.device).tril()
            mask = torch.cat([mask.new_ones(t, before), mask.triu() if apart else mask], 1)
        cache: Cache = []
        for layer, block in enumerate(self.blocks):
            layer_past = past[layer] if past else None
            states, key_value = block(states, layer_past, memory[layer], mask, memory_mask[:, None, None])
            cache.append(key_value)
        return self.norm(states), cache


class EncoderBlock(nn.Module):
    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.own = Attention(size, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(2))
        self.wide, self.narrow = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        normed = self.norms[0](states)
        states = states + self.dropout(self.own(normed, *self.own.keys(normed), mask[:, None, None]))
        return states + self.dropout(self.narrow(gelu(self.wide(self.norms[1](states)))))


class Encoder(nn.Module):
    """Bidirectional, without position embeddings: the order of its inputs only permutes its outputs."""

    def __init__(self, size: int, heads: int, layers: int, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(size, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(size)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """states: [n, positions, size]; mask: bool [n, positions], some true in each row: attended to."""
        for block in self.blocks:
            states = block(states, mask)
        return self.norm(states)
