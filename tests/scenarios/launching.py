"""Starts trainings in two gloo processes on the CPU, each of them tests/scenarios/two_processes.py."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, *shlex.split("-m torch.distributed.run --standalone --nproc_per_node 2")]


def accelerate_environment(mode: str) -> dict[str, str]:
    """The variables in which `accelerate launch --config_file recipes/accelerate/MODE.yaml` tells its processes."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    file = str(ROOT / "recipes" / "accelerate" / f"{mode}.yaml")
    words = launch_command_parser().parse_args(["--config_file", file, "script.py"])
    options, config, _ = _validate_launch_command(words)
    options.deepspeed_fields_from_accelerate_config = ",".join(config.deepspeed_config)
    told = prepare_deepspeed_cmd_env(options)[1] if mode.startswith("zero") else prepare_multi_gpu_env(options)
    return {name: value for name, value in told.items() if name.startswith(("ACCELERATE_", "FSDP_"))}


def start(mode: str, jobs: list[tuple[str, list[str]]], folder: Path) -> subprocess.Popen:
    """Two processes that do the jobs, (stage, words), in float32; what they print goes to `folder`/log.txt."""
    (folder / "jobs.json").write_text(json.dumps(jobs))
    on_cpu = {"ACCELERATE_USE_CPU": "true", "ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1"}
    environment = os.environ | accelerate_environment(mode) | on_cpu | {"PYTHONPATH": str(ROOT)}
    command = [*COMMAND, "-m", "tests.scenarios.two_processes", str(folder / "jobs.json")]
    with open(folder / "log.txt", "w") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


def launch(mode: str, jobs: list[tuple[str, list[str]]], folder: Path) -> str:
    """As `start`, to the end; returns what was printed."""
    status = start(mode, jobs, folder).wait()
    printed = (folder / "log.txt").read_text()
    assert status == 0, printed[-6000:]
    return printed


def kill(run: subprocess.Popen) -> None:
    """Ends the launcher and its processes at once, as a machine that goes down does."""
    assert run.poll() is None, f"it ended with {run.returncode} before it could be killed"
    processes = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    run.wait()
