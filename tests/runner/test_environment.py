"""What a run says about the process that it was."""

import subprocess
import sys

from gr2.runner.environment import peak_memory

MEASURE = "from gr2.runner.environment import peak_memory; print(peak_memory())"


def test_a_peak_is_the_processs_own_and_not_that_of_the_one_which_started_it():
    held = bytearray(400 * 2**20)
    held[:: 2**12] = b"x" * (len(held) // 2**12)  # every page is touched, so it is resident
    small = int(subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True).stdout)
    assert peak_memory() > len(held) > 200e6 > small > 10e6


def test_a_peak_has_that_of_the_largest_child_in_it():
    child = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'held = b\"x\" * 300_000_000'], check=True); "
    )
    peak = int(subprocess.run([sys.executable, "-c", child + MEASURE], capture_output=True, text=True).stdout)
    assert 300e6 < peak < 400e6
