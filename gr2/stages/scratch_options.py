"""Options of models that are trained from scratch."""

from dataclasses import dataclass

from gr2.errors import InputError
from gr2.options.declare import arg


@dataclass(kw_only=True)
class ScratchOptions:
    """Of a model that is trained from scratch."""

    vocab_size: int = arg(2000, "from scratch: vocabulary size of the BPE, without the IDs", least=300)
    bpe_text: str = arg("", "from scratch: words of prompts and answers, which the BPE learns beside the catalogue")
    hidden_size: int = arg(128, "from scratch: width, a multiple of twice the heads", least=2)
    layers: int = arg(3, "from scratch: layers", least=1)
    heads: int = arg(4, "from scratch: query heads; 1 or an even number", least=1)
    context: int = arg(2048, "from scratch: longest sequence in tokens", least=2)
    spread: float = arg(
        0.1, "from scratch: standard deviation of the initial weights; 0.03 learns sooner to copy IDs", above=0
    )
    local_window: int | None = arg(
        None, "from scratch: all layers but the last see only the latest N tokens; not for vLLM", least=1
    )

    def check_heads(self) -> None:
        if self.hidden_size % (2 * self.heads) or (self.heads % 2 and self.heads > 1):
            found = f"--hidden_size {self.hidden_size} --heads {self.heads}"
            raise InputError(f"{found}: expected one head or an even number, and a multiple of twice the heads")
