"""What a training says: a few figures of a step, and the latest validation."""

from types import SimpleNamespace

from gr2 import terminal
from gr2.step_lines import MOST, SHOWN, StepLines

# As TRL and gr2 log a step of reinforcement learning; values are not looked at.
NAMES = """
    loss grad_norm learning_rate num_tokens completions/mean_length completions/min_length completions/max_length
    completions/clipped_ratio completions/mean_terminated_length zero_spread resamples rewards/ranking_reward/mean
    reward reward_std frac_reward_zero_std copied_shown demoted first first_sunk identity_rate invalid/no_json
    kendall_tau kept promoted rank_change trace_words valid flat entropy clip_ratio/low_mean step_time epoch
"""


def said(capsys, monkeypatch, *logs: dict) -> list[str]:
    """The lines about one step, which took a minute, after these figures were logged."""
    callback, state = StepLines(), SimpleNamespace(max_steps=100, global_step=0)
    monkeypatch.setattr(terminal.time, "monotonic", lambda: 0.0)
    callback.on_train_begin(None, state, None)
    state.global_step = 1
    for entry in logs:
        callback.on_log(None, state, None, logs=entry)
    monkeypatch.setattr(terminal.time, "monotonic", lambda: 60.0)
    callback.on_step_end(None, state, None)
    return [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]


def test_eight_figures_of_a_step_of_reinforcement_learning(capsys, monkeypatch):
    (line,) = said(capsys, monkeypatch, dict.fromkeys(NAMES.split(), 0.25))
    head, _, figures = line.partition("; ")
    assert head == "training: 1 of 100 steps, 99 min left"
    names = [figure.split()[0] for figure in figures.split(", ")]
    assert names == [name.rpartition("/")[2] for name in SHOWN[:MOST]]
    assert figures.startswith("reward 0.25, reward_std 0.25, ")


def test_the_loss_of_a_training_that_earns_no_rewards(capsys, monkeypatch):
    (line,) = said(capsys, monkeypatch, {"loss": 1.23456, "grad_norm": 12345.6, "learning_rate": 1e-3, "epoch": 1})
    assert line.endswith("left; loss 1.235, grad_norm 1.235e+04")


def test_the_latest_validation_stays_in_the_line(capsys, monkeypatch):
    validated = {"eval_ndcg@5": 0.5, "eval_valid": 1.0, "eval_runtime": 3.0, "eval_steps_per_second": 2.0}
    (line,) = said(capsys, monkeypatch, {"loss": 1.0}, validated, {"train_runtime": 5.0})
    assert line.endswith("; loss 1; validation at step 1: ndcg@5 0.5, valid 1")


def test_a_step_without_figures_still_has_its_line(capsys, monkeypatch):
    assert said(capsys, monkeypatch) == ["training: 1 of 100 steps, 99 min left"]
