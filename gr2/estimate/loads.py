"""What a training, or a batch of answers, asks of a device: sizes in, memory and seconds out."""

from dataclasses import dataclass

from gr2.devices import Device
from gr2.estimate import formulas as cost
from gr2.estimate.formulas import NARROW, WIDE, Memory
from gr2.estimate.shapes import Shape

SMALL = 5e8  # parameters
SCHEDULED, VLLM_SHARE = 8192, 0.9  # vLLM's defaults: max_num_batched_tokens, gpu_memory_utilization


@dataclass(frozen=True)
class Cluster:
    """Where a recipe is to run."""

    device: Device
    devices: int
    spread: str  # one of formulas.SPREADS
    given: float | None = None  # the share of the peak that is reached, where the user knows it

    def utilisation(self, shape: Shape) -> float:
        """Model FLOPs over the device's peak; docs/estimate.md says where the defaults come from."""
        if self.given is not None:
            return self.given
        if self.device.on_cpu:
            return 0.2
        return 0.07 if cost.count_parameters(shape) < SMALL else 0.3

    @property
    def mixed(self) -> bool:
        return not self.device.on_cpu


@dataclass(frozen=True)
class Load:
    """A row of the table: what a stage, or a part of it, takes."""

    stage: str
    shape: Shape
    trained: int  # parameters
    devices: int
    memory: Memory  # of one device
    tokens: float  # of all devices
    seconds: float
    utilisation: float


@dataclass(frozen=True)
class Batch:
    """What a device reads at once in a training, and how often."""

    rows: float
    length: float  # tokens of a row
    places: float  # tokens with logits
    logits: str  # see formulas.keep_logits
    steps: float  # the optimizer's
    accumulation: float = 1
    checkpointing: bool = False
    masked: bool = True  # by packing, or by padding on the left

    @property
    def tokens(self) -> float:
        return self.rows * self.length


def train(name: str, shape: Shape, trained: int, cluster: Cluster, batch: Batch, mixed: bool) -> Load:
    """mixed: bfloat16 beside float32 weights."""
    spread = cluster.spread if cluster.devices > 1 else "one"
    columns = round(batch.length) if batch.masked else 0
    states = cost.hold_states(shape, trained, spread, cluster.devices, mixed, batch.accumulation > 1)
    memory = Memory(
        states.weights,
        states.gradients,
        states.optimizer,
        cost.keep_activations(shape, batch.tokens, mixed, columns, batch.checkpointing),
        cost.keep_logits(shape, batch.places, batch.logits, mixed),
        held=states.held,
    )
    tokens = batch.tokens * batch.accumulation * cluster.devices * batch.steps
    utilisation = cluster.utilisation(shape)
    flops = cost.train_flops(shape, tokens, batch.length, trained, predicted=0 if batch.logits == "none" else None)
    seconds = flops / (utilisation * cluster.device.peak * cluster.devices)
    return Load(name, shape, trained, cluster.devices, memory, tokens, seconds, utilisation)


@dataclass(frozen=True)
class Answers:
    """A batch that a device answers at once."""

    rows: float
    prompt: float  # tokens of a prompt
    answer: float  # tokens of an answer
    passes: float  # the model's, for all tokens of an answer
    shared: float = 1  # answers to a prompt, which is read once
    launched: bool = True  # each kernel by itself, as `generate` does; false: vLLM

    @property
    def tokens(self) -> float:
        return self.rows * (self.prompt / self.shared + self.answer)

    def seconds(self, shape: Shape, cluster: Cluster) -> float:
        utilisation, prompts = cluster.utilisation(shape), self.rows / self.shared
        reading = cost.read_flops(shape, prompts * self.prompt, self.prompt, prompts)
        length, tokens = self.prompt + self.answer / 2, self.rows * self.answer / self.passes
        step = cost.step_seconds(shape, self.rows, tokens, length, cluster.device, utilisation, self.launched)
        return reading / (utilisation * cluster.device.peak) + self.passes * step

    def memory(self, shape: Shape, cluster: Cluster) -> Memory:
        """vLLM reads SCHEDULED tokens at once, and keeps as many answers as fit; the others wait."""
        width = NARROW if cluster.mixed else WIDE
        weights, logits = width * cost.count_parameters(shape), self.rows * shape.vocabulary * WIDE
        read = self.rows / self.shared if self.launched else min(self.rows / self.shared, SCHEDULED / self.prompt)
        activations = cost.read_at_once(shape, read, self.prompt, width)
        cache = cost.keep_cache(shape, self.rows, self.prompt + self.answer, width)
        if not self.launched:
            left = VLLM_SHARE * cluster.device.memory - weights - logits - activations
            cache = min(cache, max(left, cache / self.rows))
        return Memory(weights=weights, activations=activations, logits=logits, cache=cache)


def ask(name: str, shape: Shape, cluster: Cluster, answers: Answers, batches: float, devices: int = 1) -> Load:
    """`batches`, divided among the devices."""
    seconds = batches * answers.seconds(shape, cluster) / devices
    tokens = batches * answers.tokens
    return Load(name, shape, 0, devices, answers.memory(shape, cluster), tokens, seconds, cluster.utilisation(shape))


def read(name: str, shape: Shape, cluster: Cluster, rows: float, length: float, batches: float) -> Load:
    """`batches` of `rows` texts that one device only reads: a model without an output layer."""
    width, utilisation = NARROW if cluster.mixed else WIDE, cluster.utilisation(shape)
    weights, activations = width * cost.count_parameters(shape), cost.read_at_once(shape, rows, length, width)
    computing = cost.read_flops(shape, rows * length, length, predicted=0) / (utilisation * cluster.device.peak)
    launching = 0.0 if cluster.device.on_cpu else cost.LAUNCH * shape.layers
    seconds, tokens = batches * max(launching, computing), batches * rows * length
    return Load(name, shape, 0, 1, Memory(weights=weights, activations=activations), tokens, seconds, utilisation)
