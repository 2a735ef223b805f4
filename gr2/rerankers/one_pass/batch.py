"""Slates as tensors that the network reads, and what it is to learn of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gr2.arrays import pad
from gr2.data.features import Features
from gr2.files.slates import Slate
from gr2.rerankers.one_pass.network import PADDING
from gr2.rerankers.one_pass.rendering import Rendering


@dataclass(frozen=True)
class Example:
    """A slate, its candidates' features, float [K, features], and the probabilities to be learned, [K], if any."""

    slate: Slate
    inputs: np.ndarray
    targets: np.ndarray


def make_examples(
    slates: Sequence[Slate],
    features: Features | None,
    names: Sequence[str],
) -> list[Example]:
    """targets: the labels as shares of their sum; or a teacher's probabilities (`read_teacher_slates`)."""
    inputs = make_inputs(slates, features, names)
    targets = [shares(slate.labels) for slate in slates]
    return [Example(*row) for row in zip(slates, inputs, targets, strict=True)]


def make_inputs(slates: Sequence[Slate], features: Features | None, names: Sequence[str]) -> list[np.ndarray]:
    """The candidates' features, float [K, features] of each slate; features may be None if there are no names."""
    return features.compute(slates, names) if names else [np.zeros((len(slate.candidates), 0)) for slate in slates]


def shares(labels: Sequence[float]) -> np.ndarray:
    return np.array(labels) / (sum(labels) or 1.0)


def make_batch(slates: Sequence[Slate], inputs: Sequence[np.ndarray], rendering: Rendering | None) -> dict[str, Tensor]:
    """What `OnePass.scores` reads of n slates; rendering: none without a language model.

    inputs: float [n, K, features]; mask: bool [n, K], false where a slate is padded; tokens, owner, position: int
    [n, width], see `network.see`; ends: int [n, K] or [n, 1], 0 where a slate is padded.
    """
    mask = np.arange(max(len(row) for row in inputs)) < np.array([[len(row)] for row in inputs])
    numbers = np.zeros((*mask.shape, inputs[0].shape[1]), np.float32)
    numbers[mask] = np.concatenate(inputs)
    batch = {"inputs": torch.from_numpy(numbers), "mask": torch.from_numpy(mask)}
    if rendering is None:
        return batch
    tokens, owner, position, ends = zip(*(rendering.lay_out(slate) for slate in slates), strict=True)
    rows = {"tokens": (tokens, 0), "owner": (owner, PADDING), "position": (position, 0), "ends": (ends, 0)}
    return batch | {name: torch.from_numpy(pad(values, fill)) for name, (values, fill) in rows.items()}


def collate(examples: list[Example], rendering: Rendering | None) -> dict[str, Tensor]:
    """What `OnePass.forward` takes."""
    slates = [example.slate for example in examples]
    batch = make_batch(slates, [example.inputs for example in examples], rendering)
    targets = torch.from_numpy(pad([example.targets for example in examples], 0.0)).float()
    labels = [slate.labels or [0.0] * len(slate.candidates) for slate in slates]
    return batch | {"targets": targets, "labels": torch.from_numpy(pad(labels, 0.0)).float()}
