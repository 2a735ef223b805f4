"""A trained quantizer: vectors -> latents -> codes -> vectors. The kinds differ in how it was trained.

Codes add up to a latent (`residual`); an RQ-VAE puts a small network around them, otherwise a vector is its own latent.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from gr2.errors import InputError
from gr2.files.artifacts import write_whole
from gr2.semantic_ids import residual

CHUNK = 8192  # vectors that a network encodes at a time


class MLP(nn.Module):
    """A linear map plus a perceptron that starts at 0: training begins as a linear autoencoder's does. Ours; on Beauty
    a plain perceptron ended at twice the reconstruction error.
    """

    def __init__(self, widths: list[int]):
        super().__init__()
        self.linear = nn.Linear(widths[0], widths[-1])
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU()]
        self.perceptron = nn.Sequential(*layers[:-1])
        nn.init.zeros_(layers[-2].weight)
        nn.init.zeros_(layers[-2].bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(inputs) + self.perceptron(inputs)


class Autoencoder(nn.Module):
    """Vectors [n, width] -> latents [n, latent] -> vectors."""

    def __init__(self, width: int, hidden: Sequence[int], latent: int):
        super().__init__()
        self.encoder = MLP([width, *hidden, latent])
        self.decoder = MLP([latent, *reversed(hidden), width])


@dataclass(frozen=True)
class Quantizer:
    """`codebooks`: float32 [levels, codes, latent]; `beam`: width of the search for a vector's codes, 1 is greedy."""

    kind: str
    codebooks: np.ndarray
    beam: int
    network: Autoencoder | None = None

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self.network.encoder.linear.in_features if self.network else self.codebooks.shape[2]

    def latents(self, vectors: np.ndarray) -> np.ndarray:
        """float32 [n, latent] of vectors [n, width]."""
        return apply(self.network.encoder, vectors) if self.network else vectors

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Codes, int64 [n, levels], of vectors [n, width], in chunks: memory does not grow with n. They may collide."""
        if len(vectors) == 0:
            return np.zeros((0, len(self.codebooks)), np.int64)
        parts = np.split(vectors, range(CHUNK, len(vectors), CHUNK))
        return np.concatenate([residual.encode(self.latents(part), self.codebooks, self.beam) for part in parts])

    def decode(self, assigned: np.ndarray) -> np.ndarray:
        """Vectors [n, width] from codes [n, levels]; an extra level only tells items apart and is ignored."""
        latents = residual.decode(assigned, self.codebooks)
        return apply(self.network.decoder, latents) if self.network else latents

    def save(self, path: str | Path) -> None:
        """Writes quantizer.safetensors whole."""
        tensors = {"codebooks": torch.from_numpy(self.codebooks)}
        notes = {"kind": self.kind, "beam": self.beam, "hidden": []}
        if self.network:
            tensors |= self.network.state_dict()
            widths = [layer.out_features for layer in self.network.encoder.perceptron if isinstance(layer, nn.Linear)]
            notes["hidden"] = widths[:-1]
        with write_whole(path) as aside:
            save_file(tensors, aside, {"quantizer": json.dumps(notes)})  # one entry: safetensors shuffles several


def load(path: str | Path) -> Quantizer:
    """Reads what `Quantizer.save` wrote; InputError for another file."""
    try:
        with safe_open(path, "pt") as file:
            notes = json.loads((file.metadata() or {}).get("quantizer", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, FileNotFoundError) as error:
        raise InputError(f"{path}: expected a quantizer that `gr2 sids` wrote ({error})") from None
    if not notes or "codebooks" not in tensors:
        raise InputError(f"{path}: expected a quantizer that `gr2 sids` wrote, found other tensors")
    codebooks, network = tensors.pop("codebooks"), None
    if tensors:
        width = tensors["encoder.linear.weight"].shape[1]
        network = Autoencoder(width, notes["hidden"], codebooks.shape[2])
        network.load_state_dict(tensors)
    return Quantizer(notes["kind"], codebooks.numpy(), notes["beam"], network)


@torch.no_grad()
def apply(layer: nn.Module, rows: np.ndarray) -> np.ndarray:
    """A network's output for float32 rows, CHUNK at a time."""
    parts = [layer(part).numpy() for part in torch.from_numpy(rows).split(CHUNK)]
    return np.concatenate(parts)
