"""Trains an RQ-VAE: minibatches, Adam, a cosine schedule, and checkpoints; a resumed run ends with the same bytes."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from gr2.errors import InputError
from gr2.files.artifacts import write_whole
from gr2.semantic_ids.rqvae import RQVAE, info_nce, squared
from gr2.semantic_ids.settings import RQVAESettings
from gr2.terminal import Progress

CHECKPOINTS = 10  # a run


def train(
    vectors: np.ndarray,
    levels: int,
    codes: int,
    settings: RQVAESettings,
    seed: int,
    pairs: np.ndarray | None = None,
    checkpoint: Path | None = None,
) -> RQVAE:
    """A trained model on the CPU, from vectors [n, d]; `pairs`, int [p, 2], are rows that users take consecutively.

    Uses a GPU where there is one. `checkpoint`, a file, is read at the start and written ten times a run.
    InputError where a weight becomes NaN or infinite.
    """
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = torch.from_numpy(vectors).to(device)
    model = RQVAE(vectors.shape[1], levels, codes, settings).to(device)
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=settings.learning_rate)
    done = resume(model, optimizer, checkpoint) if checkpoint and checkpoint.exists() else 0
    every = max(1, settings.epochs // CHECKPOINTS)
    progress = Progress("rqvae", settings.epochs, "epochs", done)
    for epoch in range(done, settings.epochs):
        if settings.kmeans_init and epoch == settings.warmup_epochs:
            model.start_codebooks(data, seed)
        batches = list(minibatches(len(data), settings.batch_size, seed, epoch))
        for index, rows in enumerate(batches):
            share = (epoch + index / len(batches)) / settings.epochs
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * (1 + math.cos(math.pi * share)) / 2
            batch = data[rows]
            if epoch < settings.warmup_epochs:
                loss = squared(model.network.decoder(model.network.encoder(batch)) - batch)
            else:
                loss, steps, errors = model(batch)
                if settings.contrastive:
                    near = attraction(model, data, pairs, len(rows), (seed, epoch, index))
                    loss = loss + settings.contrastive * near
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if epoch >= settings.warmup_epochs:
                model.update_codebooks(steps, errors)
        if not all(weights.isfinite().all() for weights in model.parameters()):
            became = f"the RQ-VAE's weights became NaN or infinite in epoch {epoch + 1}"
            raise InputError(f"--learning_rate {settings.learning_rate}: expected a lower one, {became}")
        if checkpoint and (epoch + 1) % every == 0:
            save(model, optimizer, epoch + 1, checkpoint)
        progress.advance()
    return model.cpu().eval()


def minibatches(n: int, size: int, seed: int, epoch: int) -> Iterator[torch.Tensor]:
    """The rows 0..n-1, `size` at a time, in another random order each epoch."""
    yield from torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(n)).split(size)


def attraction(model: RQVAE, data: torch.Tensor, pairs: np.ndarray, size: int, seed: tuple[int, ...]) -> torch.Tensor:
    """InfoNCE over `size` random pairs: quantized latents of co-interacted items attract each other."""
    lefts, rights = pairs[np.random.default_rng(seed).integers(len(pairs), size=size)].T
    left, _ = model.straight_through(data[torch.from_numpy(lefts)])
    right, _ = model.straight_through(data[torch.from_numpy(rights)])
    return info_nce(left, right, model.settings.temperature)


def save(model: RQVAE, optimizer: torch.optim.Adam, epochs: int, path: Path) -> None:
    """Writes a checkpoint after this number of epochs."""
    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": tensor.contiguous() for name, tensor in moments.items()}
    with write_whole(path) as aside:
        save_file(tensors | {"epochs": torch.tensor(epochs)}, aside)


def resume(model: RQVAE, optimizer: torch.optim.Adam, path: Path) -> int:
    """Loads what `save` wrote; returns how many epochs were done."""
    tensors = load_file(path)
    model.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
    moments: dict[int, dict] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam."):
            _, index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
    return int(tensors["epochs"])
