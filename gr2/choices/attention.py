"""Attention to what has been read, without copies of it: a pass reads a few tokens and sees hundreds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from gr2.errors import InputError

GROUPED = "grouped_sdpa"


@dataclass(frozen=True)
class Attention:
    """What a model's attention masks look like. window: keys that a layer with a window sees; 0: there is none."""

    implementation: str
    dtype: torch.dtype
    window: int
    kinds: frozenset[str]

    @classmethod
    def of(cls, model: PreTrainedModel) -> Self:
        """InputError unless the model sees what a mask shows of all it has read, at the positions that it is told.

        ALiBi counts the keys in the cache instead, also those that are not text.
        """
        kind, found = model.config.model_type, model.config._attn_implementation
        config = model.config.get_text_config().to_dict()
        other_layers = set(config.get("layer_types") or ()) - {"full_attention", "sliding_attention"}
        if model._is_stateful or other_layers or kind in ("bloom", "mpt") or config.get("alibi"):
            needed = "full or sliding-window attention by position, not recurrent, chunked or ALiBi layers"
            raise InputError(f"{kind}: choices need {needed}")
        if found not in ("sdpa", "eager"):
            raise InputError(f"attn_implementation {found}: expected sdpa or eager, which can read ahead")
        window = config.get("use_sliding_window", True) and config.get("sliding_window")
        return cls(found, model.dtype, window or 0, frozenset(config.get("layer_types") or ()))

    def mask(self, visible: Tensor, query: Tensor, key: Tensor) -> Tensor | dict[str, Tensor]:
        """The mask of queries at positions [rows, queries] that see `visible` keys, bool [rows, queries, keys].

        key: the keys' positions [rows, keys]. Several kinds of layers get a mask each, by the name of the kind.
        """
        if not self.window:
            return self._shape(visible)
        near = visible & (query[:, :, None] - key[:, None] < self.window)
        if len(self.kinds) < 2:
            return self._shape(visible if self.kinds == {"full_attention"} else near)
        return {"full_attention": self._shape(visible), "sliding_attention": self._shape(near)}

    def _shape(self, visible: Tensor) -> Tensor:
        if self.implementation == "sdpa":
            return visible[:, None]
        hidden = torch.zeros(visible.shape, dtype=self.dtype, device=visible.device)
        return hidden.masked_fill(~visible, torch.finfo(self.dtype).min)[:, None]


def attend_grouped(
    module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, dropout=0.0, scaling=None, **_
) -> tuple[Tensor, None]:
    """As transformers' sdpa, which repeats keys and values for all heads that share them if there is a mask."""
    settings = {"attn_mask": mask, "dropout_p": dropout, "scale": scaling, "enable_gqa": True}
    return scaled_dot_product_attention(query, key, value, **settings).transpose(1, 2).contiguous(), None


AttentionInterface.register(GROUPED, attend_grouped)


@contextmanager
def grouped_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within it sdpa on a CPU is `attend_grouped`; on a GPU torch has no fast kernel for it with a mask."""
    config, before = model.config, model.config._attn_implementation
    if before == "sdpa" and model.device.type == "cpu":
        config._attn_implementation = GROUPED
    try:
        yield
    finally:
        config._attn_implementation = before


class RoomyCache(DynamicCache):
    """A cache whose layers have room for more keys and values, so that a pass does not copy those before."""

    def __init__(self):
        super().__init__()
        self.layer_class_to_replicate = RoomyLayer


class RoomyLayer(DynamicLayer):
    """keys, values: views of the first places of `rooms`."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.rooms = self.keys, self.values

    def update(self, key_states: Tensor, value_states: Tensor, *_, **__) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        key_room, self.keys = append(self.rooms[0], self.keys, key_states)
        value_room, self.values = append(self.rooms[1], self.values, value_states)
        self.rooms = key_room, value_room
        return self.keys, self.values


def append(room: Tensor, kept: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """A room, and a view of it that holds what is kept and then what is new, [rows, heads, tokens, size].

    `room` serves if `kept` still lies in it (rows may have been selected since) and there is place.
    """
    length = kept.shape[2] + new.shape[2]
    if room.data_ptr() != kept.data_ptr() or room.shape[2] < length:
        room = torch.empty(*new.shape[:2], length + length // 2, new.shape[3], dtype=new.dtype, device=new.device)
        room[:, :, : kept.shape[2]] = kept
    room[:, :, kept.shape[2] : length] = new
    return room, room[:, :, :length]
