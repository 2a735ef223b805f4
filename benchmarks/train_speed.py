"""Where a training step's time goes: tokens a second and the share of the card's peak, for one change after another.

    python benchmarks/train_speed.py                              # a small model, on a CPU
    python benchmarks/train_speed.py --size smollm2-135m --batch 64 --length 384 --steps 10

Random weights and tokens; 88 of each row's tokens are learned, as in an answer of ten candidates. Each row of the table
builds on the one before: `full logits` is what transformers' Trainer does (mid-training), `labels only` computes logits
where there is a label, `compiled` adds torch.compile over each decoder layer, `no mask` drops the padding mask so that
flash attention can be used, `bf16 weights` drops autocast (an upper bound: AdamW then rounds its updates). `gr2
midtrain` and `gr2 sft` are the trainers themselves, on whole blocks and on rows of which one is shorter. Utilisation is
that of gr2/rates.py, over --peak (H100 and H200, dense bfloat16: 989e12).
"""

import argparse
import tempfile
import time
from collections.abc import Callable

import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from gr2.rates import count_operations

SIZES = {
    "small": {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 2048,
    },
    "smollm2-135m": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 50240,
    },
}
LEARNED = 88


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--peak", type=float, default=989e12)
    parser.add_argument("--profile", action="store_true", help="print where `gr2 sft` spends its time")
    options = parser.parse_args()
    device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
    ids = torch.randint(SIZES[options.size]["vocab_size"], (options.batch, options.length), device=device)
    variants: dict[str, Callable[[], Callable]] = {
        "full logits": lambda: make_step(options, device, ids, labels_only=False),
        "labels only": lambda: make_step(options, device, ids),
        "compiled": lambda: make_step(options, device, ids, compiled=True),
        "no mask": lambda: make_step(options, device, ids, compiled=True, mask=False),
        "bf16 weights": lambda: make_step(options, device, ids, compiled=True, mask=False, dtype=torch.bfloat16),
    }
    print(f"{options.size}, {device}, {options.batch} x {options.length} tokens, {options.steps} steps")
    for name, make in variants.items():
        torch.manual_seed(0)
        report(name, measure_step(make(), options.steps, device), options)
    for name, make_trainer in {"gr2 midtrain": midtrain_trainer, "gr2 sft": sft_trainer}.items():
        report(name, measure_trainer(options, ids, make_trainer), options)


def build_model(options: argparse.Namespace, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    config = LlamaConfig(**SIZES[options.size], tie_word_embeddings=True, max_position_embeddings=8192, use_cache=False)
    return LlamaForCausalLM(config).to(dtype)


def make_step(
    options, device, ids, labels_only=True, compiled=False, mask=True, dtype=torch.float32
) -> Callable[[], None]:
    """One training step of a plain loop: autocast (unless the weights are bfloat16), cross-entropy, fused AdamW."""
    model = build_model(options, dtype).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    if compiled:
        for layer in model.model.layers:
            layer.compile()
    ones = torch.ones_like(ids)
    ones[0, :8] = 0  # one padded row is enough for a mask to be made
    first = ids.shape[1] - LEARNED

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=dtype == torch.float32):
            hidden = model.model(input_ids=ids, attention_mask=ones if mask else None).last_hidden_state
            kept = hidden[:, first - 1 : -1] if labels_only else hidden[:, :-1]
            logits = model.lm_head(kept).float().flatten(0, 1)
        targets = ids[:, first:] if labels_only else ids[:, 1:]
        torch.nn.functional.cross_entropy(logits, targets.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure_step(step: Callable[[], None], steps: int, device: str) -> float:
    for _ in range(3):  # compiles, and fills the allocator
        step()
    synchronize(device)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    synchronize(device)
    return (time.perf_counter() - start) / steps


def measure_trainer(options: argparse.Namespace, ids: torch.Tensor, make_trainer: Callable) -> float:
    """Seconds a step of gr2's own trainer, by the difference between a long and a short training."""

    def run(steps: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            settings = {
                "output_dir": folder,
                "max_steps": steps,
                "per_device_train_batch_size": options.batch,
                "report_to": "none",
                "gradient_checkpointing": False,
                "remove_unused_columns": False,
                "disable_tqdm": True,
                "save_strategy": "no",
                "bf16": torch.accelerator.is_available(),
                "logging_steps": 1000,
            }
            trainer = make_trainer(build_model(options), ids.cpu().tolist(), settings)
            start = time.perf_counter()
            if options.profile and steps > 3:
                profile(trainer)
            else:
                trainer.train()
            return time.perf_counter() - start

    short = run(3)
    return (run(3 + options.steps) - short) / options.steps


def midtrain_trainer(model: LlamaForCausalLM, rows: list[list[int]], settings: dict) -> Trainer:
    from gr2.midtrain.packing import collate
    from gr2.rates import LanguageModelTrainer

    blocks = [{"input_ids": row, "labels": row, "position_ids": list(range(len(row)))} for row in rows]
    return LanguageModelTrainer(model, TrainingArguments(**settings), train_dataset=blocks, data_collator=collate)


def sft_trainer(model: LlamaForCausalLM, rows: list[list[int]], settings: dict) -> Trainer:
    from trl import SFTConfig

    from gr2.language_model.scratch import train_tokenizer
    from gr2.sft.weighting import Collator, WeightedSFTTrainer

    tokenizer = train_tokenizer(["a b c"], 300)
    rows = [rows[0][8:], *rows[1:]]
    labels = [[-100] * (len(row) - LEARNED) + row[-LEARNED:] for row in rows]
    weights = [[float(label >= 0) for label in row] for row in labels]
    return WeightedSFTTrainer(
        model,
        SFTConfig(**settings, dataset_kwargs={"skip_prepare_dataset": True}),
        train_dataset=Dataset.from_dict({"input_ids": rows, "labels": labels, "weights": weights}),
        processing_class=tokenizer,
        data_collator=Collator(tokenizer.pad_token_id),
    )


def profile(trainer) -> None:
    activities = list(torch.profiler.supported_activities())
    with torch.profiler.profile(activities=activities) as recorded:
        trainer.train()
    averages = recorded.key_averages()
    for order in ("self_cpu_time_total", "self_device_time_total"):
        print(averages.table(sort_by=order, row_limit=14, max_name_column_width=60))


def synchronize(device: str) -> None:
    if device != "cpu":
        torch.accelerator.synchronize()


def report(name: str, seconds: float, options: argparse.Namespace) -> None:
    tokens = options.batch * options.length / seconds
    each_token, each_pair = count_operations(build_model(options))
    share = (each_token + each_pair * options.length) * tokens / options.peak
    print(
        f"{name:14} {1000 * seconds:8.1f} ms a step {tokens:12,.0f} tokens/s   {100 * share:5.1f} % of peak", flush=True
    )


if __name__ == "__main__":
    main()
