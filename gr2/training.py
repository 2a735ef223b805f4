"""What every training stage shares: resume from the last whole checkpoint, save the model, keep the log."""

import json
import shutil
from pathlib import Path

from transformers import Trainer

from gr2.artifacts import write_model_whole, write_text

LOG = "training_log.jsonl"


def last_checkpoint(output_dir: str | Path) -> str | None:
    """The newest checkpoint that was written to its end (`trainer_state.json` comes last), or None."""
    for folder in sorted(Path(output_dir).glob("checkpoint-*"), key=lambda folder: -int(folder.name.split("-")[1])):
        try:
            json.loads((folder / "trainer_state.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):  # killed while it was being written
            continue
        return str(folder)
    return None


def train(trainer: Trainer) -> None:
    """Trains to the end, from the last checkpoint where there is one; then the model appears, whole, in output_dir.

    Also writes `training_log.jsonl`, one line a logged step, and removes the checkpoints. Call it on every rank.
    """
    from peft import PeftModel  # slow to import

    output_dir = Path(trainer.args.output_dir)
    checkpoint = last_checkpoint(output_dir)
    if checkpoint and trainer.is_world_process_zero():
        print(f"resuming from {checkpoint}", flush=True)
    trainer.train(resume_from_checkpoint=checkpoint)
    if isinstance(trainer.model, PeftModel):  # what is written is a plain checkpoint
        trainer.model = trainer.model_wrapped = trainer.model.merge_and_unload()
    save(trainer, output_dir)
    if trainer.is_world_process_zero():
        lines = [json.dumps(entry) for entry in trainer.state.log_history]
        write_text(output_dir / LOG, "".join(line + "\n" for line in lines))
        for folder in output_dir.glob("checkpoint-*"):
            shutil.rmtree(folder)
    trainer.accelerator.wait_for_everyone()


def save(trainer: Trainer, folder: Path) -> None:
    """Gathers the model (all ranks take part) and lets the main process move it into place."""
    if not trainer.is_world_process_zero():
        trainer.save_model(str(folder / ".model.partial"))
        return
    with write_model_whole(folder) as aside:
        trainer.save_model(str(aside))
        (aside / "training_args.bin").unlink()  # a pickle
