"""In which numbers a training computes where its recipe does not say."""

import torch
from transformers.utils import is_torch_bf16_gpu_available


class OwnPrecision:
    """For option classes of trainings: `bf16`, where not given, is true on a GPU that has it and false on a CPU.

    TRL would set it on a CPU too, and transformers then refuse.
    """

    def __post_init__(self) -> None:
        if self.bf16 is None:
            on_gpu = torch.accelerator.is_available() and not self.use_cpu
            self.bf16 = on_gpu and is_torch_bf16_gpu_available() and not self.fp16
        super().__post_init__()
