"""`gr2 estimate RECIPE`: what a recipe's language models will cost: memory, tokens and hours, stage by stage.

RECIPE is the name of a recipe that comes with gr2 (`gr2 recipes` lists them), or a file. Nothing is run or loaded:
sizes come from the recipe, from files that its stages have written, and from what is assumed, which is printed.

  gr2 estimate smollm2-135m --gpu h200                     one GPU
  gr2 estimate smollm2-135m --gpus 8 --gpu h100 --spread fsdp2
  gr2 estimate smollm2-135m --sft.per_device_train_batch_size 64 --midtrain.model_name_or_path Qwen/Qwen3-8B

`--ID.OPTION VALUE` is an option of one stage that wins over the recipe's, as in `gr2 run`. Formulas, their sources, and
estimates beside measurements: docs/estimate.md.
"""

import argparse
from dataclasses import asdict
from dataclasses import fields as fields_of
from pathlib import Path

from gr2.devices import DEVICES, find_device
from gr2.errors import InputError
from gr2.estimate import formulas as cost
from gr2.estimate.commands import COMMANDS
from gr2.estimate.data import Assumptions, Data
from gr2.estimate.loads import Cluster, Load
from gr2.files.artifacts import write_json
from gr2.runner.checks import check_words
from gr2.runner.pipeline import split_changes
from gr2.runner.plan import read_plan
from gr2.runner.recipe import find_recipe

PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "cache")
ASSUMED = {
    "slates": "slates of each split",
    "history": "items of a user's history",
    "events": "events that mid-training learns",
    "title_tokens": "tokens of a title",
    "category_tokens": "tokens of a category",
    "explanation_tokens": "tokens of an explanation",
}


def main(words: list[str]) -> None:
    words, changes = split_changes(words)
    options = parser().parse_args(words)
    device = find_device(options.gpu)
    if options.gpus < 1 or not 0 < (options.utilisation or 1) <= 1:
        raise InputError("--gpus, --utilisation: expected 1 or more, and a share above 0 and up to 1")
    spread = options.spread or ("ddp" if options.gpus > 1 else "one")
    if (spread == "one") != (options.gpus == 1):
        raise InputError(f"--spread {spread}: expected one with --gpus 1, else one of {', '.join(cost.SPREADS[1:])}")
    cluster = Cluster(device, options.gpus, spread, options.utilisation)
    data = Data(
        read_plan(find_recipe(options.recipe), changes), Assumptions(**{name: vars(options)[name] for name in ASSUMED})
    )
    loads = estimate(data, cluster)
    if not loads:
        print(f"{options.recipe}: no stage trains or asks a language model")
        return
    print(f"{options.recipe} on {options.gpus} x {options.gpu}, {describe_spread(cluster)}\n")
    print("\n".join(table(loads, cluster)))
    print("\n" + "\n".join(notes(data, loads, cluster)))
    if options.json:
        write_json(Path(options.json), {"recipe": options.recipe, "stages": [as_json(load) for load in loads]})


def estimate(data: Data, cluster: Cluster) -> list[Load]:
    """The rows of the table, in the order of the stages; InputError names the stage."""
    loads: list[Load] = []
    for stage in (stage for stage in data.plan if stage.command in COMMANDS):
        try:
            check_words(stage.command, stage.options)
            loads += COMMANDS[stage.command](data, stage, cluster)
        except InputError as error:
            raise InputError(f"stage {stage.id}: {str(error).removeprefix(f'{stage.command}: ')}") from None
    return loads


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("gr2 estimate", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("recipe", help="a recipe's name, e.g. demo, or a file")
    parser.add_argument("--gpus", type=int, default=1, help="devices that train; of cpu: cores (default 1)")
    parser.add_argument("--gpu", default="h100", help=f"{', '.join(DEVICES)} (default h100)")
    spread = "how a training is spread, as in recipes/accelerate (default: ddp where there are several GPUs)"
    parser.add_argument("--spread", choices=cost.SPREADS, help=spread)
    reached = "model FLOPs over the device's peak, where you know it; default by the model's size: docs/estimate.md"
    parser.add_argument("--utilisation", type=float, metavar="SHARE", help=reached)
    defaults = Assumptions()
    for name, what in ASSUMED.items():
        shown = f"{what}, where no file says it yet (default {vars(defaults)[name]:,})"
        parser.add_argument(f"--{name}", type=int, default=vars(defaults)[name], metavar="N", help=shown)
    parser.add_argument("--json", metavar="FILE", help="write the table there, too, in bytes and seconds")
    return parser


def describe_spread(cluster: Cluster) -> str:
    kinds = {
        "one": "one device",
        "ddp": "DDP: every device holds the whole model",
        "zero2": "ZeRO-2: gradients and optimizer shared out",
        "zero3": "ZeRO-3: weights, gradients and optimizer shared out",
        "fsdp2": "FSDP2: weights, gradients and optimizer shared out",
    }
    return kinds[cluster.spread if cluster.devices > 1 else "one"]


def table(loads: list[Load], cluster: Cluster) -> list[str]:
    """Lines of text: a row for each load, memory in GiB on one device."""
    heads = ["stage", "params", "trained", "weights", "grads", "optim", "activ", "logits", "cache", "peak"]
    rows = [[*heads, "devices", "tokens", "util", "hours"]]
    for load in loads:
        memory = [f"{vars(load.memory)[part] / 2**30:.2f}" for part in PARTS] + [f"{load.memory.peak / 2**30:.2f}"]
        size = [count(cost.count_parameters(load.shape)), count(load.trained) if load.trained else "-"]
        last = [str(load.devices), count(load.tokens), f"{load.utilisation:.2f}", f"{load.seconds / 3600:.3f}"]
        rows.append([load.stage, *size, *memory, *last])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    aligned = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    hours = sum(load.seconds for load in loads) / 3600
    held = f", {hours * cluster.devices:.2f} device-hours where all are held" if cluster.devices > 1 else ""
    return [*map("  ".join, aligned), "", f"{hours:.2f} hours one after the other{held}; memory in GiB on each device"]


def count(number: float) -> str:
    """1,234,567 -> 1.23M."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def notes(data: Data, loads: list[Load], cluster: Cluster) -> list[str]:
    """What does not fit, then what the figures rest on."""
    room = cluster.device.memory
    peaks = {load.stage: load.memory.peak for load in loads if load.memory.peak > room}
    full = [f"does not fit: {name} takes {peak / 2**30:.1f} of {room / 2**30:.0f} GiB" for name, peak in peaks.items()]
    shares = sorted({load.utilisation for load in loads})
    source = "given" if cluster.given else "by device and size: docs/estimate.md"
    reached = f"utilisation: {', '.join(f'{share:.2f}' for share in shares)} of the device's peak, {source}"
    peak = f"peak: {cluster.device.peak / 1e12:,.4g} TFLOP/s; {cluster.device.source}"
    rest = "not counted: starting, reading, tokenising, padding, writing, and memory lost to fragments"
    return [*full, reached, peak, *data.notes, rest]


def as_json(load: Load) -> dict:
    return {
        "stage": load.stage,
        "shape": asdict(load.shape),
        "parameters": cost.count_parameters(load.shape),
        "trained_parameters": load.trained,
        "devices": load.devices,
        "bytes": {part.name: vars(load.memory)[part.name] for part in fields_of(load.memory)}
        | {"peak": load.memory.peak},
        "tokens": load.tokens,
        "utilisation": load.utilisation,
        "seconds": load.seconds,
    }
