import json
from pathlib import Path

import pytest
from conftest import gr2

pytestmark = pytest.mark.slow

SHORT = ["--bf16", "false", "--disable_tqdm", "true", "--save_strategy", "no", "--logging_steps", "1",
         "--per_device_train_batch_size", "16", "--num_generations", "8", "--max_completion_length", "48",
         "--prompt", "prompts/student_no_trace.yaml"]  # fmt: skip


def log_of(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    return [entry for entry in lines if "reward" in entry]


@pytest.fixture(scope="module")
def reinforced(world, traced, tuned) -> Path:
    folder = world.root / "rl"
    gr2("rl", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
        "--model_name_or_path", tuned, "--output_dir", folder, "--max_steps", "30", "--learning_rate", "5e-4", *SHORT)  # fmt: skip
    return folder


def test_the_reward_rises(reinforced):
    rewards = [entry["reward"] for entry in log_of(reinforced)]
    assert len(rewards) == 30
    assert sum(rewards[-8:]) / 8 > sum(rewards[:8]) / 8


def test_every_step_logs_what_would_show_hacking(reinforced):
    for entry in log_of(reinforced):
        assert {"valid", "invalid/unknown_id", "frac_reward_zero_std", "completions/mean_length"} <= entry.keys()
        if entry["valid"] > 0:
            assert {"identity_rate", "kendall_tau", "promoted", "kept", "demoted", "first"} <= entry.keys()
            assert entry["promoted"] + entry["kept"] + entry["demoted"] == pytest.approx(1, abs=1e-4)


def test_the_policy_moved(tuned, reinforced):
    from safetensors.torch import load_file

    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (tuned, reinforced))
    assert all((before[name] != after[name]).any() for name in before)


def test_an_unknown_reward_is_refused(world, traced, tuned, tmp_path):
    done = gr2("rl", "--items", world.items, "--semantic_ids", world.semantic_ids, "--slates", traced.slates,
               "--model_name_or_path", tuned, "--output_dir", tmp_path / "out", "--reward", "gr3", *SHORT, expect=2)  # fmt: skip
    assert "gr2_conditional" in done.stderr and not (tmp_path / "out").exists()
