"""The settings of quantizers, apart from their code: reading them costs no import of torch.

GR2 (2602.07774) names the switches but neither widths, weights nor patience. The values here are ours; docs/results has the
runs that they come from.
"""

from dataclasses import dataclass
from typing import Literal

from gr2.errors import InputError
from gr2.files.sid_tokens import LETTERS
from gr2.options.declare import arg

LEVELS = len(LETTERS)  # a level's tokens are named by its letter
SEED = 2**31 - 1  # the largest that faiss takes
Way = Literal["minimum", "random", "level", "none"]  # what happens to items with the same codes


@dataclass(kw_only=True)
class Settings:
    """An RQ-VAE's."""

    hidden: list[int] = arg([512], "rqvae: widths between a vector and its latent; the decoder mirrors them", least=1)
    latent: int = arg(256, "rqvae: numbers a latent has", least=1)
    epochs: int = arg(40, "rqvae: passes over the vectors", least=1)
    warmup_epochs: int = arg(
        10, "rqvae: the first N epochs train without quantization, then the codebooks start", least=0
    )
    batch_size: int = arg(512, "rqvae: vectors a batch", least=1)
    learning_rate: float = arg(3e-3, "rqvae: Adam's, falling to 0 along a cosine", above=0)
    commitment: float = arg(0.25, "rqvae: weight of the pull of latents to their codes", least=0)
    kmeans_init: bool = arg(True, "rqvae: codebooks start as k-means++ centroids of the latents, level by level")
    ema: bool = arg(True, "rqvae: codebooks are moving averages of their latents, not trained by gradient")
    ema_decay: float = arg(0.95, "rqvae: how much of the moving average stays at every batch", least=0, below=1)
    diversity: float = arg(0.0, "rqvae: weight of the loss that evens out code usage; 0: off", least=0)
    reset_after: int = arg(
        0, "rqvae: a code unused for N batches moves to the vector that is rebuilt worst; 0: off", least=0
    )
    contrastive: float = arg(
        0.0, "rqvae: weight of InfoNCE on items that users take one after the other; 0: off", least=0
    )
    temperature: float = arg(0.1, "rqvae: of InfoNCE's cosines", above=0)


@dataclass(kw_only=True)
class Training(Settings):
    """Of any quantizer: what it is trained on, its kind and shape."""

    items: str = arg(help="items.parquet", path="items.parquet")
    embeddings: str = arg(help="embeddings.safetensors, rows as in the items file", path="embeddings.safetensors")
    output_dir: str = arg(help="folder for what the stage writes")
    quantizer: Literal["rkmeans", "balanced", "additive", "rqvae"] = arg(
        "rkmeans", "residual k-means, with clusters of equal size, with codebooks refitted together, or RQ-VAE"
    )
    levels: int = arg(4, "codes an ID has (GR2: 4)", least=1, most=LEVELS)
    codes: int = arg(256, "codes a level has (GR2: 256)", least=2)
    beam: int = arg(1, "width of the search for a vector's codes; 1: the nearest code, level by level", least=1)
    train_sample: int | None = arg(None, "train on N vectors, drawn under the seed; none: on all", least=1)
    interactions: str | None = arg(
        None, "contrastive: interactions.parquet of `gr2 prepare`; only pretrain events", path="interactions.parquet"
    )
    seed: int = arg(0, "of everything random", least=0, most=SEED)

    def __post_init__(self) -> None:
        if self.quantizer == "rqvae":
            check_rqvae(self)
            if self.contrastive and not self.interactions:
                raise InputError(
                    f"--contrastive {self.contrastive}: expected --interactions, the file of `gr2 prepare`"
                )


def check_rqvae(settings: Settings) -> None:
    """InputError where the codebooks would never be trained."""
    if settings.warmup_epochs >= settings.epochs:
        raise InputError(f"--warmup_epochs {settings.warmup_epochs}: expected fewer than the {settings.epochs} of --epochs; "
                         "the codebooks are trained in the rest")  # fmt: skip
