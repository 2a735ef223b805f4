"""An encoder of requests, and a decoder with a cache that writes a list over what the encoder made of one.

Pre-norm Transformer blocks (Xiong et al. 2020) on torch's own attention, with dropout of what a block adds only: inside attention
and the wide layer it costs a third of a step on a CPU. Training runs whole lists at once; writing a list feeds one place at a time
and gives the same states, which tests hold it to.
"""

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

Cache = list[tuple[torch.Tensor, torch.Tensor]]  # keys and values of each layer, [n, heads, places, size / heads]


class Attention(nn.Module):
    """Multi-head attention whose keys and values are made apart from its queries, so that they can be kept."""

    def __init__(self, size: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.output = nn.Linear(size, size), nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)

    def keys(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[n, places, size] -> keys and values, each [n, heads, places, size / heads]."""
        key, value = self.key_value(states).chunk(2, -1)
        return self.split(key), self.split(value)

    def split(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(
        self, states: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """states: [n, t, size]; mask: bool, broadcast to [n, heads, t, places], true where a place may be looked at."""
        seen = scaled_dot_product_attention(self.split(self.query(states)), key, value, mask)
        return self.output(seen.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Looks at the list so far, then at the request, then thinks."""

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.own, self.request = Attention(size, heads), Attention(size, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(3))
        self.wide, self.narrow = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        states: torch.Tensor,
        past: tuple[torch.Tensor, torch.Tensor] | None,
        memory: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor | None,
        there: torch.Tensor,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        own = self.norms[0](states)
        key, value = self.own.keys(own)
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        states = states + self.dropout(self.own(own, key, value, mask))
        asking = self.norms[1](states).reshape(len(there), -1, states.shape[2])  # all lists of a request at once
        states = states + self.dropout(self.request(asking, *memory, there).view_as(states))
        return states + self.dropout(self.narrow(gelu(self.wide(self.norms[2](states))))), (key, value)


class Decoder(nn.Module):
    """Blocks over a request's encoded places."""

    def __init__(self, size: int, heads: int, layers: int, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleList(Block(size, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(size)

    def memory(self, states: torch.Tensor) -> Cache:
        """What every block looks at of a request: its keys and values, made once. states: [n, places, size]."""
        return [block.request.keys(states) for block in self.blocks]

    def forward(
        self, states: torch.Tensor, memory: Cache, there: torch.Tensor, past: Cache | None = None, apart: bool = False
    ) -> tuple[torch.Tensor, Cache]:
        """states: [n * lists, t, size], whole lists, or with `past` the one next place (t = 1), or `apart`, t alternatives for it,
        of which none sees another; there: bool [n, places], the request's; a request's lists stand side by side.

        Returns states [n * lists, t, size] and the cache with these places in it.
        """
        t, before = states.shape[1], past[0][0].shape[2] if past else 0
        mask = None
        if t > 1:
            own = torch.ones(t, t, dtype=torch.bool, device=states.device)
            own = own.tril().triu() if apart else own.tril()
            mask = torch.cat([own.new_ones(t, before), own], 1)
        kept: Cache = []
        for number, block in enumerate(self.blocks):
            states, own = block(states, past[number] if past else None, memory[number], mask, there[:, None, None])
            kept.append(own)
        return self.norm(states), kept


class EncoderBlock(nn.Module):
    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.own = Attention(size, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(2))
        self.wide, self.narrow = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        own = self.norms[0](states)
        states = states + self.dropout(self.own(own, *self.own.keys(own), there[:, None, None]))
        return states + self.dropout(self.narrow(gelu(self.wide(self.norms[1](states)))))


class Encoder(nn.Module):
    """Bidirectional, without places of its own: what it makes of a set does not depend on the set's order."""

    def __init__(self, size: int, heads: int, layers: int, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(size, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(size)

    def forward(self, states: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """states: [n, places, size]; there: bool [n, places], some true in each row; what is not there is not looked at."""
        for block in self.blocks:
            states = block(states, there)
        return self.norm(states)
