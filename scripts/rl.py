"""`gr2 rl` under accelerate or torchrun, for several processes; the same code and the same options.

accelerate launch --config_file recipes/accelerate/ddp.yaml scripts/rl.py --recipe demo --stage rl
"""

import sys

from gr2.cli import main

main(["rl", *sys.argv[1:]])
