"""Groups of options of `gr2 slates`."""

from dataclasses import dataclass
from typing import Literal

from gr2.errors import InputError
from gr2.options.declare import arg


@dataclass(kw_only=True)
class Beam:
    """Of the pre-ranker `beam`."""

    semantic_ids: str | None = arg(None, "beam: semantic_ids.parquet", path="semantic_ids.parquet")
    model_name_or_path: str | None = arg(None, "beam: the mid-trained model", path=True)
    beams: int = arg(20, "beam: width of the search; raised to --candidates or --depth if they are larger", least=1)
    window: int = arg(40, "beam: read the latest WINDOW items at most, as in mid-training; at least --history", least=1)
    batch_size: int = arg(16, "beam: stretches of `window` items per batch", least=1)

    def check_beam(self, history: int) -> None:
        if not self.model_name_or_path or not self.semantic_ids:
            raise InputError(
                "--pre_ranker beam: expected --model_name_or_path, the mid-trained model, and --semantic_ids"
            )
        if self.window < history:
            raise InputError(f"--window {self.window}: expected at least --history, {history}")


@dataclass(kw_only=True)
class Protocol:
    """Which candidates are relevant."""

    protocol: Literal["next", "later", "impressions"] = arg(
        "next", "next: one relevant item, the next; later, impressions: several (gr2/retrieval/protocols.py)"
    )
    relevant: int = arg(
        6, "later: the next RELEVANT items are relevant, and candidates whatever the pre-ranker says", least=1
    )
    liked: float = arg(4.0, "impressions: items with this rating or a better one are relevant", least=-1e6, most=1e6)
    shuffle: bool = arg(
        False, "later, impressions: candidates in random order, without scores, which would give the relevant away"
    )
    seed: int = arg(0, "random seed of that order", least=0, most=2**32 - 1)
