"""Options that several commands share, each declared once. A command's `Config` lists the groups that it has."""

import os
from dataclasses import dataclass
from typing import Literal

from gr2.errors import InputError
from gr2.masking import mask
from gr2.options.declare import arg


@dataclass(kw_only=True)
class ItemOptions:
    """Of commands that read the items."""

    items: str = arg(help="items.parquet", path="items.parquet")


@dataclass(kw_only=True)
class SlateOptions(ItemOptions):
    """Of commands that read slates."""

    slates: str = arg(help="slates.parquet", path="slates.parquet")


@dataclass(kw_only=True)
class SemanticIdOptions:
    """Of commands that write or read semantic IDs in text."""

    semantic_ids: str = arg(help="semantic_ids.parquet", path="semantic_ids.parquet")


@dataclass(kw_only=True)
class StudentPrompt:
    """Of commands that use the student's prompt."""

    prompt: str = arg("student", "the student's prompt: a name that comes with gr2, or a file", path=True)


@dataclass(kw_only=True)
class PromptOptions(StudentPrompt):
    """Of commands that show slates to the student."""

    max_prompt_tokens: int | None = arg(
        None, "leave out the oldest history items until a prompt has this many tokens or fewer", least=1
    )


@dataclass(kw_only=True)
class LoraOptions:
    """Of trainings that can use LoRA."""

    trainable: Literal["all", "lora"] = arg("all", "train everything, or LoRA adapters that are merged at the end")
    lora_rank: int = arg(32, "lora: rank", least=1)
    lora_alpha: int = arg(64, "lora: scale, divided by the rank", least=1)

    def __post_init__(self) -> None:
        """Before anything is loaded: PEFT cannot merge adapters into weights that lie in parts on several devices."""
        launched = os.environ.get("ACCELERATE_USE_FSDP"), os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE")
        if self.trainable == "lora" and (launched[0] == "true" or launched[1] == "3"):
            raise InputError("--trainable lora: expected a launch that does not shard the weights, as ddp or zero2")
        super().__post_init__()


@dataclass(kw_only=True)
class TrackerOptions:
    """Of trainings with transformers."""

    report_to: str = arg("none", "trackers: tensorboard, trackio, wandb, none")


@dataclass(kw_only=True)
class HubOptions:
    """Of trainings whose model can go to the hub; see docs/hub.md."""

    push_to_hub: bool = arg(False, "when all is done, upload the model with its card; HF_TOKEN or `hf auth login`")
    hub_model_id: str | None = arg(None, "push_to_hub: to me/model; none: to the name of output_dir, under your user")
    hub_strategy: Literal["end"] = arg("end", "push_to_hub: nothing is pushed before the folder is finished")


@dataclass(kw_only=True)
class TracePromptOptions:
    """Of commands that write traces."""

    prompt: str = arg(help="prompt: a name that comes with gr2, e.g. rejection, or a file", path=True)
    domain: str | None = arg(None, "a domain, e.g. movies, or a file, in place of the prompt's general one", path=True)
    priming: bool = arg(True, "include the domain's background knowledge in the prompt")
    split: Literal["train", "valid", "test"] = arg("train", "the slates of this split")
    max_slates: int | None = arg(None, "explain this many slates, drawn at random under the seed", least=1)
    skip_accepted: list[str] = arg(
        [], "traces.jsonl files; leave out slates that have an accepted trace in them", path="traces.jsonl"
    )
    seed: int = arg(0, "random seed of drawn slates and of sampling", least=0, most=2**32 - 1)


@dataclass(kw_only=True)
class ServerOptions:
    """Of commands that sample with an `engine`, openai among them."""

    base_url: str | None = arg(
        None, "engine openai: URL of the server or of a router, ending in /v1; key in OPENAI_API_KEY"
    )
    concurrency: int = arg(32, "engine openai: requests in flight", least=1)
    deadline: float = arg(600.0, "engine openai: seconds for a whole answer", above=0)

    def __post_init__(self) -> None:
        is_url = self.base_url is None or self.base_url.startswith(("http://", "https://"))
        if not is_url or (self.base_url and self.engine != "openai"):
            expected = "a URL, http://... or https://..., and --engine openai"
            raise InputError(f"--base_url {mask(self.base_url)}: expected {expected}")
        known = self.base_url or {"OPENAI_BASE_URL", "OPENAI_API_KEY"} & os.environ.keys()
        if self.engine == "openai" and not known:
            missing = "--base_url, your server's, and OPENAI_API_KEY, a key of OpenAI's own service, are both missing"
            raise InputError(f"--engine openai: {missing}; expected one of them")


@dataclass(kw_only=True)
class Workers:
    """Of engine ray: a local Ray, or the cluster that RAY_ADDRESS names."""

    workers: int = arg(1, "engine ray: processes that hold the model", least=1)
    gpus_per_worker: float = arg(0.0, "engine ray: GPUs of a worker", least=0)


@dataclass(kw_only=True)
class SamplingWorkers(Workers):
    """The same of language models."""

    ray_engine: Literal["vllm", "transformers"] = arg("vllm", "engine ray: what each worker samples with")


@dataclass(kw_only=True)
class EvaluationOptions:
    """Of evaluations."""

    split: Literal["train", "valid", "test"] = arg("test", "what to measure")
    resamples: int = arg(5000, "bootstrap resamples, and sign flips", least=100, most=1_000_000)
    seed: int = arg(0, "random seed of the resampling, and of the random order", least=0)


class PrecisionDefault:
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
