"""Memory and seconds of RL's loss: logits at all places of an answer, and at those alone where something is chosen.

    python benchmarks/rl_loss.py                    # SmolLM2-135M's sizes and vocabulary with 0 and 4 of its 30 layers
    python benchmarks/rl_loss.py --rows 64 --layers 30                                         # on a GPU

A step's forward and backward over answers of 87 tokens, of which 13 are chosen, among 2 to 10, after prompts of 200.
Each line is a process of its own, with random weights in float32, under autocast to bfloat16 on a GPU. Before: the
softmax over the admitted tokens at all 87 places. GB: the largest memory beyond
that of the weights and their gradients: what the process holds in RAM (Linux), or what torch holds on the GPU. With
0 layers it is the loss alone: from hidden states, and back to them, without gradients of weights. Seconds: the fastest
of --rounds steps.
Exits 1 if the loss alone takes more than a quarter of the memory that it took before.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from gr2.choices.reading import logits_at
from gr2.rl.scoring import score_decisions

PROMPT, ANSWER, CHOICES, MOST = 200, 87, 13, 10
VOCABULARY = 50_176  # SmolLM2's, and 1,024 tokens for IDs
CUDA = torch.cuda.is_available()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--rows", type=int, default=8, help="answers of a micro-batch")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)  # a system and its layers, in a process of its own
    options = parser.parse_args()
    if options.only:
        system, layers = options.only
        print(json.dumps(measure(SYSTEMS[system], int(layers), options.rows, options.rounds)))
        return
    where = torch.cuda.get_device_name() if CUDA else f"CPU, {torch.get_num_threads()} threads"
    print(f"{where}, {options.rows} answers\n\n| layers | logits at | GB | seconds | less memory | faster |")
    print("|---|---|---|---|---|---|")
    fractions = {}
    for layers in options.layers:
        found = {}
        for system in SYSTEMS:
            command = [sys.executable, *sys.argv, "--only", system, str(layers)]
            found[system] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            times = {key: found["all places"][key] / value for key, value in found[system].items()}
            row = f"| {layers} | {system} | {found[system]['gigabytes']:.3f} | {found[system]['seconds']:.2f} "
            print(row + f"| {times['gigabytes']:.1f}x | {times['seconds']:.1f}x |", flush=True)
        fractions[layers] = times["gigabytes"]
    sys.exit(fractions.get(0, 4) < 4)


def score_all(model: PreTrainedModel, ids: Tensor, masks: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """As gr2 did. masks: int32 [rows, ANSWER, words]."""
    logits = model(input_ids=ids, logits_to_keep=ANSWER + 1, use_cache=False).logits[:, :-1].float()
    return score_decisions(logits, ids[:, -ANSWER:], masks)


def score_choices(model: PreTrainedModel, ids: Tensor, masks: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """places: of the choices in the answer, [rows, CHOICES]."""
    rows, columns = torch.arange(len(ids), device=ids.device)[:, None], places + PROMPT
    with logits_at(model, rows, columns - 1):
        logits = model(input_ids=ids, use_cache=False).logits.float()
    return score_decisions(logits, ids[rows, columns], masks[rows, places])


SYSTEMS = {"all places": score_all, "choices": score_choices}


def measure(score, layers: int, rows: int, rounds: int) -> dict[str, float]:
    model = random_model(layers)
    step(score, model, *draw_answers(1))  # makes the gradients' room
    inputs = draw_answers(rows)
    seconds, gigabytes = [], []
    for _ in range(rounds):
        before = forget_peak()
        started = time.perf_counter()
        step(score, model, *inputs)
        gigabytes.append((peak() - before) / 1e9)
        seconds.append(time.perf_counter() - started)
    return {"gigabytes": max(gigabytes), "seconds": min(seconds)}


def step(score, model: PreTrainedModel, ids: Tensor, masks: Tensor, places: Tensor) -> None:
    """The policy gradient, on policy; entropies are kept to be logged."""
    with torch.autocast("cuda", torch.bfloat16, enabled=CUDA):
        log_probs, entropies = score(model, ids, masks, places)
        advantages = torch.linspace(-1, 1, len(ids), device=ids.device)[:, None]
        loss = -(advantages * (log_probs - log_probs.detach()).exp()).sum() / places.numel()
    loss.backward()
    entropies.mean().item()


def random_model(layers: int) -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).to("cuda" if CUDA else "cpu").train()
    if layers == 0:
        model.requires_grad_(False)
        model.enable_input_require_grads()
    return model


def draw_answers(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """ids [rows, PROMPT + ANSWER], int32 masks of admitted tokens [rows, ANSWER, words], places [rows, CHOICES]."""
    generator = torch.Generator().manual_seed(rows)
    ids = torch.randint(VOCABULARY, (rows, PROMPT + ANSWER), generator=generator)
    places = torch.stack([torch.randperm(ANSWER, generator=generator)[:CHOICES].sort().values for _ in range(rows)])
    masks = torch.zeros(rows, ANSWER, -(-VOCABULARY // 32), dtype=torch.int32)
    for row in range(rows):
        for place, token in enumerate(ids[row, PROMPT:].tolist()):
            chosen = place in places[row]
            others = torch.randint(VOCABULARY, (MOST - 1,), generator=generator).tolist() if chosen else []
            for admitted in {token, *others}:
                masks[row, place, admitted // 32] |= torch.tensor(1 << admitted % 32).int()
    return tuple(value.to("cuda" if CUDA else "cpu") for value in (ids, masks, places))


def forget_peak() -> int:
    """Bytes now; `peak` counts from here."""
    if CUDA:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The most bytes since `forget_peak`."""
    if CUDA:
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
