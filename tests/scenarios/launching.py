"""Starts trainings in two gloo processes on the CPU, as a rule each of them tests/scenarios/two_processes.py.

They are forked, and told what torchrun tells its processes; `torchrun` starts it, and they import everything again.
"""

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests import forking

ROOT = Path(__file__).parents[2]
PROCESSES = 2
COMMAND = [sys.executable, *shlex.split(f"-m torch.distributed.run --standalone --nproc_per_node {PROCESSES}")]
ON_CPU = {"ACCELERATE_USE_CPU": "true", "ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1"}


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


def do_jobs(jobs: list[tuple[str, list[str]]]) -> None:
    from tests.scenarios import two_processes

    two_processes.do_jobs(jobs)


def start(mode: str, jobs: list[tuple[str, list[str]]], folder: Path) -> list[ForkServerProcess]:
    """Two processes that do the jobs, (stage, words), in float32; what they print goes to `folder`/log.txt."""
    return start_both(do_jobs, (jobs,), folder, accelerate_environment(mode))


def start_both(do: Callable, arguments: tuple, folder: Path, told: dict[str, str]) -> list[ForkServerProcess]:
    """Two processes that do `do(*arguments)`, with the variables `told`; what they print goes to `folder`/log.txt."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": PROCESSES, "LOCAL_WORLD_SIZE": PROCESSES}
    environment = os.environ | told | ON_CPU | {name: str(one) for name, one in group.items()}
    log = folder / "log.txt"
    log.unlink(missing_ok=True)
    return [
        forking.start(do, arguments, log, log, environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(PROCESSES)
    ]


def launch(mode: str, jobs: list[tuple[str, list[str]]], folder: Path) -> str:
    """As `start`, to the end, or to the failure of one; returns what was printed."""
    return wait_for(start(mode, jobs, folder), folder)


def wait_for(processes: list[ForkServerProcess], folder: Path) -> str:
    while any(process.is_alive() for process in processes) and not any(process.exitcode for process in processes):
        time.sleep(0.01)
    for process in processes:
        process.kill()
        process.join()
    printed = (folder / "log.txt").read_text()
    assert all(process.exitcode == 0 for process in processes), printed[-6000:]
    return printed


def torchrun(mode: str, jobs: list[tuple[str, list[str]]], folder: Path) -> str:
    """As `launch`, by torchrun: where variables matter that libraries read as they are imported."""
    (folder / "jobs.json").write_text(json.dumps(jobs))
    environment = os.environ | accelerate_environment(mode) | ON_CPU | {"PYTHONPATH": str(ROOT)}
    command = [*COMMAND, "-m", "tests.scenarios.two_processes", str(folder / "jobs.json")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def kill(processes: list[ForkServerProcess]) -> None:
    """Ends the processes at once, as a machine that goes down does."""
    assert all(process.is_alive() for process in processes), "one ended before it could be killed"
    for process in processes:
        process.kill()
    for process in processes:
        process.join()
