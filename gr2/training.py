"""What every training stage shares: resume from the last whole checkpoint, save the model, keep the log."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from accelerate.utils import gather_object
from safetensors import SafetensorError, safe_open
from torch.distributed.tensor import DTensor
from transformers import Trainer, TrainerState

from gr2.errors import InputError, name_disk_errors
from gr2.files.artifacts import RATES, write_json, write_model_whole, write_text
from gr2.rates import MeterMixin, describe
from gr2.step_lines import print_step_lines
from gr2.terminal import warn

LOG, STATE = "training_log.jsonl", "trainer_state.json"
TOTALS = {"total_flos", "train_loss", "train_runtime", "train_samples_per_second", "train_steps_per_second"}
SHARDED = ("pytorch_model_fsdp*", "global_step*")  # weights of FSDP's and DeepSpeed's own checkpoints


class NoCardMixin:
    """A mixin for TRL's trainers: gr2 writes the model's README.md itself, once the folder is finished."""

    def create_model_card(self, *_, **__) -> None:
        return


def list_checkpoints(output_dir: str | Path) -> list[Path]:
    """The Trainer's checkpoint folders, newest first; not `checkpoint-best`, nor a file with such a name."""
    paths = [path for path in Path(output_dir).glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted((path for path in paths if path.is_dir()), key=lambda path: -int(path.name.split("-")[1]))


def find_last_checkpoint(output_dir: str | Path) -> str | None:
    """The newest checkpoint that was written to its end, or None."""
    return next((str(folder) for folder in list_checkpoints(output_dir) if is_whole(folder)), None)


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint has a readable `trainer_state.json`, which is written last, and readable weights."""
    try:
        TrainerState.load_from_json(str(checkpoint / STATE))
        weights = list(checkpoint.glob("*.safetensors"))
        for file in weights:
            safe_open(file, framework="pt").keys()  # reads the header, and compares it with the file's size
    except (OSError, ValueError, TypeError, SafetensorError):  # killed while it was being written, or damaged
        return False
    return bool(weights) or any(any(checkpoint.glob(name)) for name in SHARDED)


def train(trainer: Trainer, check: Callable[[TrainerState], None] = lambda state: None) -> None:
    """Trains to the end, from the last whole checkpoint if any; writes the model and the log; removes the checkpoints.

    Of a `MeterMixin` trainer it writes the rates, too. Call it on every rank. `check` sees the state after training and
    raises InputError where the model is not to be written. InputError, too, where no step was made, weights are not
    finite, or the best checkpoint is gone.
    """
    from peft import PeftModel  # slow to import

    output_dir = Path(trainer.args.output_dir)
    print_step_lines(trainer)
    with name_disk_errors(output_dir):
        if checkpoint := find_last_checkpoint(output_dir):
            resume(trainer, checkpoint)
        else:
            trainer.train()
    if trainer.state.global_step == 0:
        raise InputError("nothing was trained: not one step was made; expected a whole batch of examples")
    check(trainer.state)
    refuse_non_finite(trainer)
    if isinstance(trainer.model, PeftModel):  # what is written is a plain checkpoint
        trainer.model = trainer.model_wrapped = trainer.model.merge_and_unload()
    save(trainer, output_dir)
    if trainer.is_world_process_zero():
        write_log(trainer.state.log_history, output_dir / LOG)
        for folder in list_checkpoints(output_dir):
            shutil.rmtree(folder)
    if isinstance(trainer, MeterMixin):
        write_rates(trainer, output_dir / RATES)
    trainer.accelerator.wait_for_everyone()


def resume(trainer: Trainer, checkpoint: str) -> None:
    """Trains on from a checkpoint; after the last step it only loads what the training would have ended with.

    transformers would make one step more.
    """
    if trainer.is_world_process_zero():
        print(f"resuming from {checkpoint}", flush=True)
    state = TrainerState.load_from_json(str(Path(checkpoint) / STATE))
    best = state.best_model_checkpoint
    if best and not Path(best).is_dir():  # transformers would forget it, and keep a later one
        raise InputError(f"{best}: no such folder: the best checkpoint is gone; start again in an empty folder")
    over = state.stateful_callbacks["TrainerControl"]["args"]["should_training_stop"]
    if not over or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:  # these load weights into a wrapped model
        trainer.train(resume_from_checkpoint=checkpoint)
        return
    trainer.state = state
    if trainer.args.load_best_model_at_end and best:
        trainer._load_best_model()
    else:
        trainer._load_from_checkpoint(checkpoint)


def refuse_non_finite(trainer: Trainer) -> None:
    """InputError where a training diverged; transformers' log hides it: the last finite loss stands for the others.

    Where weights are sharded, each process looks at its own part.
    """
    weights = trainer.model.named_parameters()
    parts = {name: weight.to_local() if isinstance(weight, DTensor) else weight for name, weight in weights}
    broken = list(dict.fromkeys(gather_object([name for name, part in parts.items() if not part.isfinite().all()])))
    if broken:
        weights = f"{len(broken)} weights are not finite, the first is {broken[0]}"
        raise InputError(f"the training diverged: {weights}; expected a lower learning_rate")


def warn_if_nothing_was_learned(log_history: list[dict]) -> None:
    """By the log: its last gradient is exactly 0, or its last loss is above its first."""
    steps = [entry for entry in log_history if "loss" in entry]
    if not steps:
        return
    first, last = steps[0]["loss"], steps[-1]["loss"]
    if steps[-1].get("grad_norm") == 0:
        warn("the last gradient is 0, so the model no longer learns; a lower learning_rate may help")
    elif last > first:
        warn(f"the loss rose from {first:.4g} to {last:.4g}; a lower learning_rate may help")


def write_log(log_history: list[dict], path: Path) -> None:
    """One line a logged step, without transformers' totals, which count from the latest resume and so differ.

    The entry that holds the totals stays where it also has the figures of steps that no other entry has.
    """
    entries = [{name: value for name, value in entry.items() if name not in TOTALS} for entry in log_history]
    lines = [json.dumps(entry, sort_keys=True) for entry in entries if entry.keys() - {"epoch", "step"}]
    write_text(path, "".join(line + "\n" for line in lines))


def write_rates(trainer: MeterMixin, path: Path) -> None:
    """What this process trained, after a resume the rest. Times differ from run to run: they are not in the log."""
    rates = trainer.meter.report(trainer.accelerator)
    if trainer.is_world_process_zero():
        write_json(path, rates)
        if rates["steps"]:
            print(describe(rates), flush=True)


def save(trainer: Trainer, folder: Path) -> None:
    """Gathers the model (all ranks take part) and lets the main process move it into place."""
    if not trainer.is_world_process_zero():
        trainer.save_model(str(folder / ".model.partial"))
        return
    with write_model_whole(folder) as aside:
        trainer.save_model(str(aside))
        (aside / "training_args.bin").unlink()  # a pickle
