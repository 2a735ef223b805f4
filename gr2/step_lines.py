"""A training on the terminal: short lines with the clock, the time left and a few figures; its log has all figures."""

from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback

from gr2.terminal import Progress

# Of the figures of a step the first eight that it has; reinforcement learning logs about 45.
SHOWN = (
    "reward",
    "reward_std",
    "zero_spread",
    "valid",
    "identity_rate",
    "promoted",
    "entropy",
    "completions/mean_length",
    "loss",
    "mean_token_accuracy",
    "grad_norm",
)
MOST = 8
SPEEDS = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second")


class StepLines(TrainerCallback):
    """Prints how far a training has come, with the latest logged figures and those of the latest validation."""

    def __init__(self):
        self.progress = Progress("training")
        self.figures = self.validated = ""

    def on_train_begin(self, args, state, control, **_) -> None:
        self.progress = Progress("training", state.max_steps, "steps", state.global_step)

    def on_log(self, args, state, control, logs: dict, **_) -> None:
        names = [name for name in SHOWN if name in logs][:MOST]
        if names:
            self.figures = write_figures({name.rpartition("/")[2]: logs[name] for name in names})
        measured = {name: value for name, value in logs.items() if name.startswith("eval_") and name not in SPEEDS}
        if measured:
            figures = write_figures({name.removeprefix("eval_"): value for name, value in measured.items()})
            self.validated = f"validation at step {state.global_step}: {figures}"

    def on_step_end(self, args, state, control, **_) -> None:
        self.progress.advance(note="; ".join(filter(None, (self.figures, self.validated))))


def print_step_lines(trainer: Trainer) -> None:
    """Replaces transformers' progress bar, and the mapping that it prints for every logged step."""
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(StepLines)


def write_figures(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
