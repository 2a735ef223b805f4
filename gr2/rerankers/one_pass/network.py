"""One pass, one score a candidate: a language model reads a slate, a small head scores its candidates, and nothing is
written.

Readout `states`: every candidate stands right after the history and sees the history and itself, not the others. Its
state at its last token and its features go through a small Transformer over the candidates, without positions. So the
order of a slate's candidates tells only through the features `rank` and `top`. Readout `letters` (LlamaRec,
2311.02089): one prompt with lettered candidates under ordinary causal attention; the logits of the letters after it are
the scores. Readout `none`: the head on the features alone, to see what the language model adds.
"""

from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from gr2.choices.attention import Attention, grouped_attention
from gr2.metrics import ndcg

LETTERS = ascii_uppercase
HISTORY, PADDING = -1, -2  # owners of tokens that no candidate owns


class OnePassConfig(PretrainedConfig):
    """`language_model`: its own configuration; `hidden_size`, `layers`, `heads`, `dropout`: the head's."""

    model_type = "one_pass"

    language_model: dict | None = None  # none of readout `none`
    readout: str = "states"
    show: str = "title"
    title_tokens: int = 12
    history: int = 10
    inputs: tuple[str, ...] = ()  # names of features
    hidden_size: int = 64
    layers: int = 1
    heads: int = 2
    dropout: float = 0.2


AutoConfig.register(OnePassConfig.model_type, OnePassConfig)  # AutoTokenizer looks into the folder's config.json


class Head(nn.Module):
    """A Transformer over a slate's candidates, which it takes as a set."""

    def __init__(self, config: OnePassConfig, state_size: int):
        super().__init__()
        size, numbers = config.hidden_size, len(config.inputs)
        self.register_buffer("mean", torch.zeros(numbers))  # of the features, on the train slates
        self.register_buffer("scale", torch.ones(numbers))
        self.state_norm = nn.LayerNorm(state_size) if state_size else None
        self.state = nn.Linear(state_size, size) if state_size else None
        self.inputs = nn.Linear(numbers, size, bias=False) if numbers else None
        self.norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            size, config.heads, 4 * size, config.dropout, activation="gelu", batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.output = nn.Linear(size, 1, bias=False)

    def forward(self, states: Tensor | None, inputs: Tensor, mask: Tensor) -> Tensor:
        """states [n, K, state_size], inputs [n, K, features], mask bool [n, K] -> scores [n, K]."""
        parts = []
        if self.state:
            parts.append(self.state(self.state_norm(states)))
        if self.inputs:
            parts.append(self.inputs((inputs - self.mean) / self.scale))
        candidates = self.dropout(self.norm(sum(parts)))
        return self.output(self.layers(candidates, src_key_padding_mask=~mask)).squeeze(2)


class Letters(nn.Module):
    """The rows of the output's embeddings that belong to the letters."""

    def __init__(self, state_size: int):
        super().__init__()
        self.output = nn.Linear(state_size, len(LETTERS), bias=False)

    def forward(self, states: Tensor, inputs: Tensor, mask: Tensor) -> Tensor:
        """states [n, 1, state_size] of the last token -> scores [n, K]."""
        return self.output(states[:, 0])[:, : mask.shape[1]]


class OnePass(PreTrainedModel):
    config_class = OnePassConfig

    def __init__(self, config: OnePassConfig):
        super().__init__(config)
        self.language_model, size = None, 0
        if config.readout != "none":
            settings = AutoConfig.for_model(**config.language_model)
            self.language_model, size = AutoModel.from_config(settings), settings.get_text_config().hidden_size
        self.head = Letters(size) if config.readout == "letters" else Head(config, size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """torch's own; a language model brings its weights."""

    def scores(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Float [n, K], -inf where a slate is padded; batch: as `make_batch` makes it."""
        states, mask = None, batch["mask"]
        if self.language_model:
            states = self.read(batch["tokens"], batch["owner"], batch["position"], batch["ends"])
        return self.head(states, batch["inputs"], mask).masked_fill(~mask, -torch.inf)

    def read(self, tokens: Tensor, owner: Tensor, position: Tensor, ends: Tensor) -> Tensor:
        """The states at `ends`, int [n, ends], of rows of tokens [n, width] -> [n, ends, size]."""
        mask = Attention.of(self.language_model).mask(see(owner, position), position, position)
        with grouped_attention(self.language_model):
            read = self.language_model(input_ids=tokens, attention_mask=mask, position_ids=position, use_cache=False)
        states = read.last_hidden_state
        return states.gather(1, ends[..., None].expand(-1, -1, states.shape[2]))

    def forward(self, targets: Tensor, labels: Tensor, **batch: Tensor) -> dict[str, Any]:
        """targets: the probabilities to be learned, float [n, K]; labels: float [n, K], read when evaluating.

        Returns the listwise softmax cross-entropy; when evaluating also NDCG@5, float [n].
        """
        scores = self.scores(batch)
        losses = -(targets * scores.log_softmax(1).masked_fill(~batch["mask"], 0)).sum(1)
        result = {"loss": losses.mean()}
        if not self.training:
            ranked = labels.gather(1, scores.argsort(dim=1, descending=True, stable=True))
            result["ndcg"] = torch.from_numpy(ndcg(ranked.cpu().numpy(), 5)).to(scores.device)
        return result


def see(owner: Tensor, position: Tensor) -> Tensor:
    """Which keys a token sees: its own text and the history up to its position; bool [n, width, width].

    owner: int [n, width], a candidate's index, HISTORY or PADDING. Padding sees padding: nothing sees nothing.
    """
    shared = (owner[:, None] == HISTORY) & (owner[:, :, None] != PADDING)
    return (shared | (owner[:, None] == owner[:, :, None])) & (position[:, None] <= position[:, :, None])


def new_network(config: OnePassConfig, language_model: PreTrainedModel | None, letters: list[int]) -> OnePass:
    """A network with this causal language model in it; letters: their token ids."""
    if language_model is None:
        return OnePass(config)
    config.language_model = language_model.config.to_dict()
    model = OnePass(config)
    model.language_model.load_state_dict(language_model.base_model.state_dict())
    if config.readout == "letters":
        model.head.output.weight.data.copy_(language_model.get_output_embeddings().weight.data[letters])
    return model


def standardise(head: Head, inputs: np.ndarray) -> None:
    """Takes mean and deviation of the features from float [candidates, features]."""
    head.mean.copy_(torch.from_numpy(inputs.mean(0)))
    head.scale.copy_(torch.from_numpy(inputs.std(0) + 1e-9))
