"""What quantizers are trained with, apart from their code: reading it costs no import of torch.

GR2 (2602.07774) names an RQ-VAE's switches but neither widths, weights nor patience. The defaults are ours;
docs/results/semantic_ids.md has the runs that they come from.
"""

from dataclasses import dataclass
from typing import Literal

QuantizerKind = Literal["rkmeans", "balanced", "additive", "rqvae"]
AssignmentKind = Literal["minimum", "random", "level", "none"]  # what happens to items with the same codes
LARGEST_SEED = 2**31 - 1  # the largest that faiss takes
CHECKPOINT = "checkpoint-rqvae/state.safetensors"  # in the output folder, while an RQ-VAE trains


@dataclass(frozen=True)
class RQVAESettings:
    """Of an RQ-VAE and its training; stages/sids_options.py describes each. Weights of 0 turn a loss off."""

    hidden: tuple[int, ...] = (512,)
    latent: int = 256
    epochs: int = 40
    warmup_epochs: int = 10
    batch_size: int = 512
    learning_rate: float = 3e-3
    commitment: float = 0.25
    kmeans_init: bool = True
    ema: bool = True
    ema_decay: float = 0.95
    diversity: float = 0.0
    reset_after: int = 0
    contrastive: float = 0.0
    temperature: float = 0.1
