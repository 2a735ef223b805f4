"""In which numbers a training computes where its recipe does not say."""

import torch


class OwnPrecision:
    """For option classes of trainings: `bf16`, where not given, is true on a GPU and false on a CPU.

    TRL would set it on a CPU too, and transformers then refuse.
    """

    def __post_init__(self) -> None:
        if self.bf16 is None:
            self.bf16 = torch.accelerator.is_available() and not self.fp16
        super().__post_init__()
