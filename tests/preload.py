"""What the server of forked processes imports; see forking.py.

Nothing of it is garbage. No process looks through its million objects for any, neither here nor after the fork.
"""

import atexit
import gc

gc.disable()

import peft  # noqa: E402, F401
import torch  # noqa: E402, F401
import transformers.models.qwen3.modeling_qwen3  # noqa: E402
import transformers.trainer  # noqa: E402, F401
import trl.trainer.grpo_trainer  # noqa: E402
import trl.trainer.sft_trainer  # noqa: E402, F401

gc.freeze()
gc.enable()
atexit.register(gc.unfreeze)  # else libraries report at exit what was never freed
