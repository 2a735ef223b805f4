"""What a language model costs, in formulas: parameters, FLOPs, bytes, seconds. This file is the place for all of them.

ZeRO          1910.02054, sections 3 and 5: bytes a parameter of weights, gradients and Adam's states, and who has them
Activations   2205.05198, section 4: what a layer keeps for its backward pass. Theirs is GPT with dropout and stored
              attention scores; ours are the tensors that transformers' Qwen3 and Llama keep, with RMSNorm, rotary
              positions, SwiGLU and scaled_dot_product_attention, which stores no scores (2205.14135, section 3.1)
FLOPs         2001.08361, section 2.1: 2 a parameter and token forwards, 6 with the backward pass; attention is causal,
              as in NeMo-RL (nemo_rl/utils/flops_formulas.py); utilisation: PaLM, 2204.02311, appendix B
Decoding      2211.05102, section 2: a step reads all weights and the cache, and so waits for memory
"""

from dataclasses import dataclass

from gr2.devices import Device
from gr2.estimate.shapes import Shape

WIDE, NARROW = 4, 2  # bytes of a float32 and of a bfloat16
SPREADS = ("one", "ddp", "zero2", "zero3", "fsdp2")
LIVE = 1_000_000_000  # parameters that DeepSpeed's ZeRO-3 may gather at once: stage3_max_live_parameters
TILE = 4096, 32_768  # tokens and words that TRL's fused output layer computes at once (trl/kernels/chunked_logprob.py)
LAUNCH = 0.0025  # seconds a layer and step: `generate` on an H200 takes 75 ms for 30 layers, whatever the batch
REACHED = 0.5  # share of the memory's bandwidth that decoding reaches: assumed


@dataclass(frozen=True)
class Memory:
    """Bytes on a device. Gradients come as activations go, so that the peak is below the sum of the parts."""

    weights: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    cache: float = 0.0  # keys and values of decoding
    held: float = 0.0  # gradients that exist while activations do

    @property
    def peak(self) -> float:
        backward = max(self.held + self.activations + self.logits, self.gradients)
        return self.weights + self.optimizer + self.cache + backward


# Parameters


def linear_weights(shape: Shape) -> int:
    """Of a layer."""
    return shape.hidden * (2 * shape.queries + 2 * shape.keys + 3 * shape.inner)


def count_layer(shape: Shape) -> int:
    extra = {"qwen3": 2 * shape.head, "qwen2": shape.queries + 2 * shape.keys}  # norms of heads; biases
    return linear_weights(shape) + 2 * shape.hidden + extra.get(shape.kind, 0)


def count_embeddings(shape: Shape) -> int:
    return shape.vocabulary * shape.hidden * (1 if shape.tied else 2)


def count_parameters(shape: Shape) -> int:
    return shape.layers * count_layer(shape) + count_embeddings(shape) + shape.hidden


def count_lora(shape: Shape, rank: int, rows: int) -> int:
    """Adapters of all linear layers but the output's, and the rows of new tokens (gr2/language_model/trainable.py)."""
    attention = 2 * (shape.hidden + shape.queries) + 2 * (shape.hidden + shape.keys)
    return shape.layers * rank * (attention + 3 * (shape.hidden + shape.inner)) + rows * shape.hidden


# FLOPs


def read_flops(shape: Shape, tokens: float, length: float, predicted: float | None = None) -> float:
    """Of reading `tokens` in texts of `length`, with logits at `predicted` of them, by default all: forwards."""
    attention = 2 * length * shape.queries  # causal: half of 4
    output = 2 * shape.hidden * shape.vocabulary * (tokens if predicted is None else predicted)
    return tokens * shape.layers * (2 * linear_weights(shape) + attention) + output


def train_flops(shape: Shape, tokens: float, length: float, trained: int, predicted: float | None = None) -> float:
    """Of a training: three times those of reading; linear layers that are frozen need no gradients of their weights.

    What is computed again (checkpointing) is not counted.
    """
    frozen = 0 if trained >= count_parameters(shape) else shape.layers * linear_weights(shape)
    return 3 * read_flops(shape, tokens, length, predicted) - 2 * tokens * frozen


# Memory of a training


def hold_states(shape: Shape, trained: int, spread: str, devices: int, mixed: bool, accumulates: bool) -> Memory:
    """Weights, gradients and Adam's two moments on a device; `trained` parameters have gradients.

    one, ddp: float32, and bfloat16 copies within autocast where `mixed`; DDP's buckets are gradients once more.
    zero2, zero3: DeepSpeed's bfloat16 weights and gradients, and 12 bytes a parameter of the optimizer, K in the paper.
    fsdp2: float32 shards, gathered in bfloat16: the embeddings all the time, layers two at a time.
    """
    every, narrow = count_parameters(shape), NARROW if mixed else WIDE
    share, root = 1 / devices, count_embeddings(shape)
    if spread in ("one", "ddp"):
        copies = NARROW * every if mixed else 0
        buckets = WIDE * trained if spread == "ddp" else 0
        held = buckets + (WIDE * trained if accumulates else 0)
        gradients = WIDE * trained + buckets
        return Memory(WIDE * every + copies, gradients, 2 * WIDE * trained, held=held)
    if spread == "fsdp2":
        gathered = narrow * (root + 2 * count_layer(shape))
        gradients = WIDE * trained * share + narrow * min(root, trained)
        held = WIDE * trained * share if accumulates else 0
        return Memory(WIDE * every * share + gathered, gradients, 2 * WIDE * trained * share, held=held)
    gathered = NARROW * min(every, LIVE) if spread == "zero3" else 0
    weights = NARROW * every * (share if spread == "zero3" else 1) + gathered
    gradients = NARROW * trained * share
    return Memory(weights, gradients, 3 * WIDE * trained * share, held=gradients)


def layer_bytes(shape: Shape, mixed: bool, masked: int) -> float:
    """What a layer keeps of a token for the backward pass; masked: the mask's columns, 0 without one.

    In float32: input, normalised and scaled input of both norms; queries, keys, values, output; gate, up, their product
    and the activation. A mask stops grouped attention: keys and values are then copied to every query head. With
    autocast norms stay in float32, and each linear layer has a bfloat16 copy of its input.
    """
    keys = shape.queries if masked else shape.keys
    wide = 4 * shape.hidden + 2 + shape.heads  # of both norms; statistics
    narrow = 5 * shape.hidden + 2 * shape.queries + 2 * keys + 4 * shape.inner
    if shape.kind == "qwen3":  # norms of heads: their input, and that normalised
        wide += shape.queries + shape.keys + shape.heads + shape.groups
        narrow += shape.queries + shape.keys
    if not mixed:
        narrow -= 3 * shape.hidden  # the copies of one input are one
    return WIDE * wide + (NARROW if mixed else WIDE) * (narrow + masked)


def keep_activations(shape: Shape, tokens: float, mixed: bool, masked: int, checkpointing: bool) -> float:
    """Bytes that `tokens` read at once keep, and what a layer's backward pass needs beside them."""
    layer = layer_bytes(shape, mixed, masked)
    working = (NARROW if mixed else WIDE) * (3 * shape.inner + 2 * shape.hidden)  # gradients within the layer
    if checkpointing:  # the inputs of all layers, and the last layer again
        return tokens * (shape.layers * WIDE * shape.hidden + layer + working)
    ends = 4 * WIDE * shape.hidden  # the embeddings' output, the last norm, the output layer's input
    return tokens * (shape.layers * layer + working + ends)


def keep_logits(shape: Shape, places: float, how: str, mixed: bool) -> float:
    """whole: transformers' loss at `places` tokens: float32 log-probabilities, and gradients of these and of logits.
    fused: TRL's output layer, a tile at a time. choices: gr2's, of the words that a slate admits. none: no such layer.
    """
    if how == "none":
        return 0.0
    if how == "fused":
        return min(places, TILE[0]) * min(shape.vocabulary, TILE[1]) * (NARROW if mixed else WIDE)
    return places * shape.vocabulary * WIDE * {"whole": 3, "choices": 7}[how]


# Reading and writing


def keep_cache(shape: Shape, rows: float, length: float, width: int) -> float:
    return 2 * shape.layers * shape.keys * rows * length * width


def read_at_once(shape: Shape, rows: float, length: float, width: int) -> float:
    """Activations of a pass that needs no gradients: one layer's, and the residual stream."""
    return rows * length * width * (2 * shape.hidden + 2 * shape.queries + 2 * shape.keys + 3 * shape.inner)


def step_seconds(
    shape: Shape, rows: float, tokens: float, length: float, device: Device, utilisation: float, launched: bool
) -> float:
    """Of a pass that reads `tokens` for `rows` answers, whose texts have `length` so far: the longest of launching
    kernels, reading memory, and computing.
    """
    width = WIDE if device.on_cpu else NARROW
    memory = width * count_parameters(shape) + keep_cache(shape, rows, length, width)
    launching = LAUNCH * shape.layers if launched and not device.on_cpu else 0.0
    computing = read_flops(shape, tokens, length, rows) / (utilisation * device.peak)
    return max(launching, memory / (REACHED * device.bandwidth), computing)
