"""Options of `gr2 sids` and `gr2 sids-ablate`: what a quantizer is trained on, and an RQ-VAE's settings."""

from dataclasses import dataclass, fields

from gr2.errors import InputError
from gr2.files.sid_tokens import MOST_LEVELS
from gr2.options.declare import arg
from gr2.semantic_ids.settings import RQVAESettings


@dataclass(kw_only=True)
class QuantizerOptions:
    """Of commands that train a quantizer on the items' vectors."""

    items: str = arg(help="items.parquet", path="items.parquet")
    embeddings: str = arg(help="embeddings.safetensors, rows as in the items file", path="embeddings.safetensors")
    levels: int = arg(4, "codes per ID (GR2: 4)", least=1, most=MOST_LEVELS)
    codes: int = arg(256, "codes per level (GR2: 256)", least=2)


@dataclass(kw_only=True)
class RQVAEOptions:
    """Of commands that can train an RQ-VAE. The defaults are those of `RQVAESettings`."""

    hidden: list[int] = arg([512], "rqvae: widths between a vector and its latent; the decoder mirrors them", least=1)
    latent: int = arg(256, "rqvae: width of the latent", least=1)
    epochs: int = arg(40, "rqvae: passes over the vectors", least=1)
    warmup_epochs: int = arg(10, "rqvae: epochs without quantization; the codebooks start after them", least=0)
    batch_size: int = arg(512, "rqvae: vectors per batch", least=1)
    learning_rate: float = arg(3e-3, "rqvae: Adam's learning rate, with a cosine decay to 0", above=0)
    commitment: float = arg(0.25, "rqvae: weight of the commitment loss, which pulls latents to their codes", least=0)
    kmeans_init: bool = arg(True, "rqvae: codebooks start as k-means++ centroids of the latents, level by level")
    ema: bool = arg(True, "rqvae: codebooks are moving averages of their latents, not trained by gradient")
    ema_decay: float = arg(0.95, "rqvae: how much of the moving average stays at every batch", least=0, below=1)
    diversity: float = arg(0.0, "rqvae: weight of the loss that evens out code usage; 0: off", least=0)
    reset_after: int = arg(0, "rqvae: codes unused for N batches move to the vectors of largest error; 0: off", least=0)
    contrastive: float = arg(0.0, "rqvae: weight of InfoNCE on items that users take consecutively; 0: off", least=0)
    temperature: float = arg(0.1, "rqvae: temperature of InfoNCE", above=0)
    interactions: str | None = arg(
        None, "contrastive: interactions.parquet of `gr2 prepare`; only pretrain events", path="interactions.parquet"
    )

    def rqvae(self) -> RQVAESettings:
        """The settings as values. InputError where the codebooks would never be trained, or pairs are missing."""
        if self.warmup_epochs >= self.epochs:
            fewer = f"expected fewer than the {self.epochs} of --epochs; the codebooks are trained in the rest"
            raise InputError(f"--warmup_epochs {self.warmup_epochs}: {fewer}")
        if self.contrastive and not self.interactions:
            raise InputError(f"--contrastive {self.contrastive}: expected --interactions, the file of `gr2 prepare`")
        values = {field.name: vars(self)[field.name] for field in fields(RQVAESettings)}
        return RQVAESettings(**values | {"hidden": tuple(self.hidden)})
