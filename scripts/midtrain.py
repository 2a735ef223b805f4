"""`gr2 midtrain` under accelerate or torchrun, for several processes; the same code and the same options.

accelerate launch --config_file recipes/accelerate/ddp.yaml scripts/midtrain.py --recipe demo --stage midtrain
"""

import sys

from gr2.cli import main

main(["midtrain", *sys.argv[1:]])
