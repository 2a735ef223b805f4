"""Opens a sampler by the name of its engine; an engine is imported when it is opened."""

from typing import Literal, get_args

from gr2.errors import InputError
from gr2.samplers.base import Sampler

LocalEngine = Literal["vllm", "transformers"]  # in this process, or in each of Ray's workers
Engine = Literal[LocalEngine, "openai", "ray"]


def open_sampler(
    engine: Engine,
    model_name_or_path: str,
    *,
    max_model_len: int | None = None,
    batch_size: int = 128,
    base_url: str | None = None,
    concurrency: int = 32,
    deadline: float = 600.0,
    ray_engine: LocalEngine = "vllm",
    workers: int = 1,
    gpus_per_worker: float = 0.0,
    float32_logits: bool = False,
) -> Sampler:
    """Loads the model (`packaged:` names too), or connects to the server at `base_url`, which serves it.

    max_model_len: prompt + answer in tokens; None: the model's own. batch_size: transformers' batch; the requests that
    vLLM, which batches by itself, holds at once. openai: `concurrency` requests in flight, each for `deadline` seconds.
    ray: `workers` processes, each with a sampler of `ray_engine`. float32_logits: see `VllmSampler`; those
    of transformers are always float32.
    """
    model = {"name_or_path": model_name_or_path, "max_model_len": max_model_len, "batch_size": batch_size}
    if engine == "openai":
        from gr2.samplers.openai import OpenaiSampler

        sampler = OpenaiSampler(model_name_or_path, base_url, concurrency, deadline)
    elif engine == "ray":
        from gr2.samplers.ray import RaySampler

        sampler = RaySampler(local_sampler("ray_engine", ray_engine), model, batch_size, workers, gpus_per_worker)
    else:
        precise = {"float32_logits": float32_logits} if engine == "vllm" else {}
        sampler = local_sampler("engine", engine)(**model, **precise)
    return sampler


def local_sampler(option: str, engine: str) -> type[Sampler]:
    if engine == "vllm":
        from gr2.samplers.vllm import VllmSampler

        return VllmSampler
    if engine == "transformers":
        from gr2.samplers.transformers import TransformersSampler

        return TransformersSampler
    engines = Engine if option == "engine" else LocalEngine
    raise InputError(f"--{option} {engine}: expected one of {', '.join(get_args(engines))}")
