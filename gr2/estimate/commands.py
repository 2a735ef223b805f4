"""The sizes of each command's work, from a stage's options and its data: what gr2/estimate/loads.py is given."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil

from gr2.estimate import formulas as cost
from gr2.estimate.data import Data, flag, number, option_of
from gr2.estimate.formulas import WIDE, Memory
from gr2.estimate.loads import Answers, Batch, Cluster, Load, ask, read, train
from gr2.estimate.models import find_model, find_rankers, model_of
from gr2.estimate.shapes import Shape
from gr2.runner.plan import Stage

ROWS = 1026  # tokens of semantic IDs with GR2's four levels of 256 codes


def count_trained(stage: Stage, shape: Shape) -> int:
    """Parameters that get gradients."""
    match option_of(stage, "trainable", "all"):
        case "lora":
            return cost.count_lora(shape, int(number(stage, "lora_rank", 32)), ROWS)
        case "rows":
            return cost.count_embeddings(shape)
    return cost.count_parameters(shape)


def count_steps(stage: Stage, rows: float, cluster: Cluster, epochs: float) -> float:
    """The optimizer's steps for `rows` examples, `epochs` times over."""
    steps = number(stage, "max_steps", -1)
    at_once = number(stage, "per_device_train_batch_size", 8) * number(stage, "gradient_accumulation_steps", 1)
    return steps if steps > 0 else ceil(rows * epochs / (at_once * cluster.devices))


def cut(stage: Stage, slates: float) -> float:
    """As many as --max_slates leaves."""
    return min(slates, number(stage, "max_slates", slates))


def train_stage(stage: Stage, shape: Shape, cluster: Cluster, batch: Batch, checkpointing: bool) -> Load:
    """checkpointing: the default of the command's library."""
    batch = replace(
        batch,
        accumulation=number(stage, "gradient_accumulation_steps", 1),
        checkpointing=flag(stage, "gradient_checkpointing", checkpointing),
    )
    return train(stage.id, shape, count_trained(stage, shape), cluster, batch, cluster.mixed)


def midtrain(data: Data, stage: Stage, cluster: Cluster) -> Iterator[Load]:
    texts, shape = data.texts(stage), model_of(data, stage)
    length = number(stage, "block_length", 256)
    if exercises := number(stage, "exercises", 0):
        prompt = option_of(stage, "prompt", "student")
        blocks, length = exercises, texts.prompt(prompt) + texts.answer(prompt)
    else:
        entries = [entry.split("=") for entry in stage.options.get("mixture", ["sequential=0.75", "captions=0.25"])]
        weights = {name: float(weight) for name, weight in entries}
        once = data.count_history_tokens(stage, texts.sid, int(number(stage, "window", 40)))
        blocks = once * number(stage, "passes", 8) * sum(weights.values()) / weights["sequential"] // length
    rows = number(stage, "per_device_train_batch_size", 8)
    steps = count_steps(stage, blocks, cluster, number(stage, "num_train_epochs", 1))
    yield train_stage(stage, shape, cluster, Batch(rows, length, rows * length, "whole", steps), checkpointing=False)


def sft(data: Data, stage: Stage, cluster: Cluster) -> Iterator[Load]:
    texts, shape, prompt = data.texts(stage), model_of(data, stage), option_of(stage, "prompt", "student")
    has_teacher, traces = "teacher" in stage.options, "traces" in stage.options
    examples = data.count_slates(stage, "train", labelled=traces)
    if traces:
        data.note("assumed: every train slate with a relevant item has an accepted trace")
    rows, answer = number(stage, "per_device_train_batch_size", 8), texts.answer(prompt)
    length = texts.prompt(prompt) + answer
    packed = number(stage, "max_length", 1024) / length if flag(stage, "packing", False) else 1  # examples in a row
    steps = count_steps(stage, examples / packed, cluster, number(stage, "num_train_epochs", 3))
    places = texts.candidates + answer - texts.answer("student_no_trace") if has_teacher else answer
    logits = "whole" if has_teacher else "fused"
    batch = Batch(rows, length * packed, rows * places * packed, logits, steps, masked=False)
    yield train_stage(stage, shape, cluster, batch, checkpointing=True)


def rl(data: Data, stage: Stage, cluster: Cluster) -> Iterator[Load]:
    """Rollouts, validation among them, and training. With `structured`, answers to a slate share their prompt."""
    texts, shape, prompt = data.texts(stage), model_of(data, stage), option_of(stage, "prompt", "student")
    structured, group = flag(stage, "structured", False), number(stage, "num_generations", 8)
    rows, prompt_tokens = number(stage, "per_device_train_batch_size", 8), texts.prompt(prompt)
    answer = min(texts.answer(prompt), number(stage, "max_completion_length", 512))
    slates, epochs = cut(stage, data.count_slates(stage, "train", labelled=True)), number(stage, "num_train_epochs", 3)
    times = number(stage, "num_iterations", 1)  # that every batch of answers is learned from
    steps, shared = count_steps(stage, slates * group * times, cluster, epochs), min(group, rows) if structured else 1
    logits, places = ("choices", texts.candidates) if structured else ("fused", answer)
    batch = Batch(rows / shared, prompt_tokens + shared * answer, rows * places, logits, steps)
    learning = train_stage(stage, shape, cluster, batch, checkpointing=True)
    passes, by_vllm = texts.candidates + 1 if structured else answer, flag(stage, "use_vllm", False)
    at_once = rows * number(stage, "gradient_accumulation_steps", 1)
    answers = Answers(at_once, prompt_tokens, answer, passes, shared, launched=not by_vllm)
    every = number(stage, "eval_steps", number(stage, "save_steps", 500))
    batches = steps * (cluster.devices / times + number(stage, "eval_slates", 0) / every / at_once)
    if flag(stage, "dynamic_sampling", False):
        data.note("assumed: groups without spread are not sampled again (dynamic_sampling asks for it)")
    if by_vllm and option_of(stage, "vllm_mode", "colocate") == "server":
        data.note(f"{stage.id}: a server of one device answers")
        yield ask(f"{stage.id}: rollouts", shape, cluster, answers, batches)
    else:
        rollouts = ask(f"{stage.id}: rollouts", shape, cluster, answers, batches, cluster.devices)
        kept = learning.memory.weights + (rollouts.memory.weights if cluster.mixed else 0)
        memory = replace(rollouts.memory, weights=kept, optimizer=learning.memory.optimizer)
        yield replace(rollouts, memory=memory)
    yield replace(learning, stage=f"{stage.id}: training")


def traces(data: Data, stage: Stage, cluster: Cluster) -> Iterator[Load]:
    engine = option_of(stage, "engine", "vllm")
    if engine == "openai":
        data.note(f"{stage.id}: a server answers, which is not counted")
        return
    texts, shape, prompt = data.texts(stage), find_model(data, stage), option_of(stage, "prompt", "rejection")
    slates = cut(stage, data.count_slates(stage, option_of(stage, "split", "train"), labelled=True))
    slates *= number(stage, "tries", 1)
    if number(stage, "tries", 1) > 1:
        data.note("assumed: traces are asked for as often as `tries` allows")
    rows = min(slates, number(stage, "batch_size", 256))
    answer = min(texts.answer(prompt), number(stage, "max_tokens", 512))
    launched = option_of(stage, "ray_engine", "vllm") == "transformers" if engine == "ray" else engine == "transformers"
    answers = Answers(rows, texts.prompt(prompt), answer, answer, launched=launched)
    workers = int(number(stage, "workers", 1)) if engine == "ray" else 1
    yield ask(stage.id, shape, cluster, answers, ceil(slates / rows), workers)


def slates(data: Data, stage: Stage, cluster: Cluster) -> Iterator[Load]:
    """Beam search after each position: the history is read once, then every level of `beams` IDs."""
    if "beam" not in stage.options.get("pre_ranker", ["beam"]):
        return
    texts, shape, positions = data.texts(stage), find_model(data, stage), data.count_positions(stage)
    beams = max(number(stage, "beams", 20), number(stage, "candidates", 10), number(stage, "depth", 0))
    window, stretches = number(stage, "window", 40), number(stage, "batch_size", 16)
    at_once = min(positions, stretches * (window - number(stage, "history", 20) + 1))
    past, levels = texts.sid * min(texts.history, window), texts.levels
    answers = Answers(at_once * beams, past, levels, levels, shared=at_once * beams / stretches)
    memory = Memory(
        weights=WIDE * cost.count_parameters(shape),
        activations=cost.read_at_once(shape, stretches, past, WIDE),
        logits=2 * WIDE * at_once * beams * shape.vocabulary,
        cache=cost.keep_cache(shape, 1, stretches * past + at_once * beams * (levels - 1), WIDE),
    )
    yield replace(ask(stage.id, shape, cluster, answers, ceil(positions / at_once)), memory=memory)


def rerank(data: Data, stage: Stage, cluster: Cluster) -> Iterator[Load]:
    """The slates, and a sample of them in other orders; a fusion asks each of its members."""
    rankers = find_rankers(data, stage)
    for ranker in rankers:
        texts, shape, prompt = data.texts(stage), model_of(data, ranker), option_of(stage, "prompt", "student")
        slates = cut(stage, data.count_slates(stage, option_of(stage, "split", "test")))
        slates += number(stage, "shuffles", 0) * min(slates, number(stage, "shuffled_slates", 100))
        rows, order = min(slates, number(stage, "batch_size", 128)), option_of(stage, "order", "written")
        order = "choices" if order == "written" and flag(stage, "structured", False) else order
        answer = min(texts.answer(prompt), number(stage, "max_tokens", 256))
        passes = {"written": answer, "choices": texts.candidates, "first": 2}[order]
        launched = option_of(stage, "engine", "transformers") == "transformers"
        name = stage.id if len(rankers) == 1 else f"{stage.id}: {ranker.id}"
        if ranker.command == "fit one_pass":
            yield read(name, shape, cluster, rows, count_one_pass(data, ranker), ceil(slates / rows))
        else:
            answers = Answers(rows, texts.prompt(prompt), answer, passes, launched=launched)
            yield ask(name, shape, cluster, answers, ceil(slates / rows))


def one_pass(data: Data, stage: Stage, cluster: Cluster) -> Iterator[Load]:
    """In float32 on one device: the teacher's epochs over all train slates, then the labels'; without its head."""
    if option_of(stage, "readout", "states") == "none":
        return
    shape, length = model_of(data, stage), count_one_pass(data, stage)
    labelled, epochs = data.count_slates(stage, "train", labelled=True), number(stage, "epochs", 20)
    teacher_epochs = number(stage, "teacher_epochs", 3) if "teacher" in stage.options else 0
    teacher_rows = data.count_slates(stage, "train") * teacher_epochs
    data.note("assumed: fit one_pass learns for all of its epochs; patience may end it earlier")
    rows = number(stage, "batch_size", 32)
    steps = ceil((labelled * epochs + teacher_rows) / rows)
    alone, batch = replace(cluster, devices=1), Batch(rows, length, 0, "none", steps)
    yield train(stage.id, shape, count_trained(stage, shape), alone, batch, mixed=False)


def count_one_pass(data: Data, stage: Stage) -> float:
    """Tokens of a slate as `gr2 fit one_pass` writes it."""
    texts, show = data.texts(stage), option_of(stage, "show", "title")
    title = min(texts.title, number(stage, "title_tokens", 12)) + 1
    item = {"title": title, "id": texts.sid, "both": texts.sid + title}[show]
    return 3 + item * (texts.candidates + min(texts.history, number(stage, "history", 10)))


COMMANDS: dict[str, Callable[[Data, Stage, Cluster], Iterator[Load]]] = {
    "midtrain": midtrain,
    "sft": sft,
    "rl": rl,
    "traces": traces,
    "slates": slates,
    "rerank": rerank,
    "fit one_pass": one_pass,
}
