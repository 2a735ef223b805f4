"""What trainings of small rerankers are told. Imports no torch, which takes seconds."""

from dataclasses import dataclass

from gr2.data.catalogue import Catalogue
from gr2.files.slates import Slate


@dataclass(frozen=True)
class Training:
    """A small network and how it is trained, as the options of `gr2 fit` say."""

    output_dir: str
    seed: int
    hidden_size: int
    layers: int
    dropout: float
    learning_rate: float
    batch_size: int
    epochs: int
    patience: int  # epochs without a better metric after which it stops


@dataclass(frozen=True)
class Lists:
    """Slates to learn lists from; all have a label above 0."""

    train: list[Slate]
    valid: list[Slate]
    catalogue: Catalogue
    list_size: int
    history: int  # items that are read

    @property
    def slates(self) -> list[Slate]:
        return self.train + self.valid
