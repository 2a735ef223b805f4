"""`gr2 sft` under accelerate or torchrun, for several processes; the same code and the same options.

accelerate launch --config_file recipes/accelerate/ddp.yaml scripts/sft.py --recipe demo --stage sft
"""

import sys

from gr2.cli import main

main(["sft", *sys.argv[1:]])
