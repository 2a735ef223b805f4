"""RQ-VAE: an autoencoder whose latent is quantized residually (RQ-VAE 2203.01941, TIGER 2305.05065; the switches are
those of GR2, 2602.07774). Vectors x [n, width], latents z [n, latent], codebooks [levels, codes, latent].

L = |x - decoder(z + sg(q - z))|^2 + commitment sum_l |r_l - sg(e_l)|^2 (+ sum_l |sg(r_l) - e_l|^2 without EMA), where
e_l is the code nearest to the residual r_l = z - e_1 - ... - e_(l-1), q = sum_l e_l, and sg stops the gradient.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from gr2.semantic_ids import rkmeans
from gr2.semantic_ids.quantizer import Autoencoder
from gr2.semantic_ids.settings import RQVAESettings


class Step(NamedTuple):
    """What a level does to a batch of n latents."""

    residual: torch.Tensor  # [n, latent]
    distance: torch.Tensor  # [n, codes], squared, from the residual to every code
    code: torch.Tensor  # [n], the nearest
    chosen: torch.Tensor  # [n, latent], its codebook rows


class RQVAE(nn.Module):
    """An autoencoder around `levels` codebooks of `codes` latent vectors."""

    def __init__(self, width: int, levels: int, codes: int, settings: RQVAESettings):
        super().__init__()
        self.settings = settings
        self.network = Autoencoder(width, settings.hidden, settings.latent)
        start = torch.empty(levels, codes, settings.latent).uniform_(-1 / codes, 1 / codes)
        self.codebooks = nn.Parameter(start, requires_grad=not settings.ema)
        self.register_buffer("counts", torch.ones(levels, codes))  # moving averages of how many latents a code has,
        self.register_buffer("sums", start.clone())  # and of their sum
        self.register_buffer("unused", torch.zeros(levels, codes, dtype=torch.long))  # batches since a code was used

    def start_codebooks(self, vectors: torch.Tensor, seed: int) -> None:
        """Residual k-means++ over the latents of vectors [n, width]."""
        with torch.no_grad():
            latents = self.network.encoder(vectors).cpu().numpy()
            levels, codes, _ = self.codebooks.shape
            self.codebooks.copy_(torch.from_numpy(rkmeans.train(latents, levels, codes, seed)))
            self.sums.copy_(self.codebooks)

    def quantize(self, latents: torch.Tensor) -> list[Step]:
        """The nearest code of every level's residual."""
        steps, residual = [], latents
        for codebook in self.codebooks:
            products, squares = residual @ codebook.T, codebook.square().sum(dim=1)
            distance = residual.square().sum(dim=1, keepdim=True) - 2 * products + squares
            code = distance.argmin(dim=1)
            steps.append(Step(residual, distance, code, codebook[code]))
            residual = residual - codebook[code].detach()
        return steps

    def straight_through(self, vectors: torch.Tensor) -> tuple[torch.Tensor, list[Step]]:
        """Quantized latents [n, latent] whose gradient is the latents', and the steps to them."""
        latents = self.network.encoder(vectors)
        steps = self.quantize(latents)
        return latents + (sum(step.chosen for step in steps) - latents).detach(), steps

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, list[Step], torch.Tensor]:
        """The loss of a batch [n, width], a scalar; its steps; and every vector's squared error [n]."""
        settings = self.settings
        latents, steps = self.straight_through(vectors)
        errors = (self.network.decoder(latents) - vectors).square().sum(dim=1)
        loss = errors.mean() + settings.commitment * sum(squared(s.residual - s.chosen.detach()) for s in steps)
        if not settings.ema:
            loss = loss + sum(squared(s.residual.detach() - s.chosen) for s in steps)
        if settings.diversity:
            loss = loss + settings.diversity * sum(crowding(s.distance) for s in steps)
        return loss, steps, errors

    @torch.no_grad()
    def update_codebooks(self, steps: list[Step], errors: torch.Tensor) -> None:
        """After a batch's backward pass: with EMA, e <- moving average of the residuals that chose e; codes that were
        unused for `reset_after` batches move to the residuals of the vectors with the largest `errors` [n].
        """
        settings, books = self.settings, self.codebooks.data
        for level, (residual, _, code, _) in enumerate(steps):
            used = functional.one_hot(code, books.shape[1]).to(residual.dtype)
            if settings.ema:
                self.counts[level].lerp_(used.sum(dim=0), 1 - settings.ema_decay)
                self.sums[level].lerp_(used.T @ residual, 1 - settings.ema_decay)
                alive = self.counts[level] > 1e-5  # a code that was unused for long stays where it was
                books[level, alive] = self.sums[level, alive] / self.counts[level, alive, None]
            self.unused[level] = torch.where(used.sum(dim=0) > 0, 0, self.unused[level] + 1)
            if settings.reset_after:
                dead = torch.nonzero(self.unused[level] >= settings.reset_after)[: len(errors), 0]
                books[level, dead] = residual[errors.topk(len(dead)).indices]
                self.sums[level, dead], self.counts[level, dead] = books[level, dead], 1.0
                self.unused[level, dead] = 0


def squared(difference: torch.Tensor) -> torch.Tensor:
    """Mean over rows of the squared length."""
    return difference.square().sum(dim=1).mean()


def crowding(distance: torch.Tensor) -> torch.Tensor:
    """GR2's diversity loss, sum_k C_k sum_j p_kj^2, for one level: p [codes] is the batch's mean soft assignment, the
    softmax of -distance [n, codes]; C_k, which GR2 does not define, is the number of codes: 1 is an even spread.
    """
    share = torch.softmax(-distance, dim=1).mean(dim=0)
    return distance.shape[1] * share.square().sum()


def info_nce(left: torch.Tensor, right: torch.Tensor, temperature: float) -> torch.Tensor:
    """-log softmax of each pair's cosine among the batch's other right halves [n, latent]."""
    cosines = functional.normalize(left, dim=1) @ functional.normalize(right, dim=1).T
    return functional.cross_entropy(cosines / temperature, torch.arange(len(left), device=left.device))
