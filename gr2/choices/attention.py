"""Attention to what has been read, without copies of it: a pass reads a few tokens and sees hundreds."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

GROUPED = "grouped_sdpa"


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
    config, own = model.config, model.config._attn_implementation
    if own == "sdpa" and model.device.type == "cpu":
        config._attn_implementation = GROUPED
    try:
        yield
    finally:
        config._attn_implementation = own


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
