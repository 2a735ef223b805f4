"""Options that several commands share, each declared once. A command's `Config` lists the groups that it has."""

from dataclasses import dataclass
from typing import Literal

from gr2.options.declare import arg


@dataclass(kw_only=True)
class Itemised:
    """Of commands that read the items."""

    items: str = arg(help="items.parquet", path="items.parquet")


@dataclass(kw_only=True)
class Slated(Itemised):
    """Of commands that read slates."""

    slates: str = arg(help="slates.parquet", path="slates.parquet")


@dataclass(kw_only=True)
class Identified:
    """Of commands that write or read semantic IDs in text."""

    semantic_ids: str = arg(help="semantic_ids.parquet", path="semantic_ids.parquet")


@dataclass(kw_only=True)
class StudentPrompt:
    """Of commands that use the student's prompt."""

    prompt: str = arg("student", "the student's prompt: a name that comes with gr2, or a file", path=True)


@dataclass(kw_only=True)
class Prompted(StudentPrompt):
    """Of commands that show slates to the student."""

    max_prompt_tokens: int | None = arg(
        None, "leave out the oldest history items until a prompt has this many tokens or fewer", least=1
    )


@dataclass(kw_only=True)
class Adapted:
    """Of trainings that can use LoRA."""

    trainable: Literal["all", "lora"] = arg("all", "train everything, or LoRA adapters that are merged at the end")
    lora_rank: int = arg(32, "lora: rank", least=1)
    lora_alpha: int = arg(64, "lora: scale, divided by the rank", least=1)


@dataclass(kw_only=True)
class Tracked:
    """Of trainings with transformers."""

    report_to: str = arg("none", "trackers: tensorboard, trackio, wandb, none")


class OwnPrecision:
    """Default precision of a training: bfloat16 on an accelerator, float32 on a CPU, unless `bf16` is given.

    TRL would choose bfloat16 on a CPU too, and transformers then refuse it.
    """

    def __post_init__(self) -> None:
        import torch
        from transformers.utils import is_torch_bf16_gpu_available

        if self.bf16 is None:
            on_gpu = torch.accelerator.is_available() and not self.use_cpu
            self.bf16 = on_gpu and is_torch_bf16_gpu_available() and not self.fp16
        super().__post_init__()
