"""Options of `gr2 fit one_pass`, by what they are about."""

from dataclasses import dataclass
from typing import Literal

from gr2.options.declare import arg


@dataclass(kw_only=True)
class DistillationOptions:
    """What is learned before labels."""

    teacher: str | None = arg(
        None,
        "another reranker's rankings.parquet of train slates, which are learned first",
        path="rankings.parquet",
        named=True,
    )
    teacher_temperature: float = arg(1.0, "the teacher's probabilities are softmax(scores / N)", above=0)
    teacher_epochs: int = arg(3, "epochs of learning from the teacher", least=1)


@dataclass(kw_only=True)
class PromptTextOptions:
    """What the language model reads of a slate."""

    show: Literal["title", "id", "both"] = arg("title", "what the language model reads of an item")
    title_tokens: int = arg(12, "cut titles to N tokens", least=1)
    history: int = arg(10, "read the latest N items of a user's history", least=0)


@dataclass(kw_only=True)
class ReadoutOptions:
    """How candidates get their scores."""

    readout: Literal["states", "letters", "none"] = arg(
        "states",
        "score a candidate by the state at its end and its features; or, as a control, by the logit of its letter "
        "(LlamaRec), without features; or by its features without a language model",
    )
    features: bool = arg(True, "readout states: read all features beside the states")
    head_size: int = arg(64, "readout states and none: width of the Transformer over the candidates", least=2)
    head_layers: int = arg(1, "its layers", least=1)
    dropout: float = arg(0.2, "its dropout", least=0, below=1)
