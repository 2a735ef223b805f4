"""The shape of a stage's model: as it was written, else as the stages before it will make it."""

from gr2.estimate.data import Data, number, option_of
from gr2.estimate.shapes import Shape, find_shape, read_shape, scratch_shape
from gr2.files.artifacts import MANIFEST, read_manifest
from gr2.masking import mask_options
from gr2.runner.output_folder import STATE
from gr2.runner.plan import Stage

TRAINS = ("midtrain", "sft", "rl", "distil")  # a language model that ranks by its answers
SHAPING = ("model_name_or_path", "hidden_size", "layers", "heads", "vocab_size", "levels", "codes")


def find_model(data: Data, stage: Stage, option: str = "model_name_or_path") -> Shape:
    """Of the model that an option names: an earlier stage's, or a folder or name from outside the recipe."""
    name = option_of(stage, option, "")
    source = data.stage(stage.sources.get(name, ""))
    return model_of(data, source) if source else find_shape(name)


def model_of(data: Data, stage: Stage) -> Shape:
    """Of the language model that a stage trains."""
    config = stage.folder / "config.json"
    if config.is_file() and stage.command in TRAINS and has_planned_shape(data, stage):
        return read_shape(config)
    if "model_name_or_path" in stage.options:
        shape = find_model(data, stage)
        return add_ids(data, shape) if needs_ids(data, stage) else shape
    hidden, layers = int(number(stage, "hidden_size", 128)), int(number(stage, "layers", 3))
    heads, vocabulary = int(number(stage, "heads", 4)), int(number(stage, "vocab_size", 2000))
    shape = scratch_shape(hidden, layers, heads, vocabulary)
    shows_ids = stage.command == "midtrain" or option_of(stage, "show", "title") != "title"
    return add_ids(data, shape) if shows_ids else shape


def has_planned_shape(data: Data, stage: Stage) -> bool:
    """Whether the folder's model was made by the plan's options, those that decide a shape, as were the model and the
    semantic IDs that it was made from.
    """
    record = next((file for name in (STATE, MANIFEST) if (file := stage.folder / name).exists()), None)
    made, planned = read_manifest(record).get("options", {}) if record else {}, mask_options(stage.options)
    words = [word for name in ("model_name_or_path", "semantic_ids") for word in stage.options.get(name, [])]
    sources = filter(None, (data.stage(stage.sources.get(word, "")) for word in words))
    same = record is not None and all(made.get(name) == planned.get(name) for name in SHAPING)
    return same and all(has_planned_shape(data, source) for source in sources)


def needs_ids(data: Data, stage: Stage) -> bool:
    """Whether mid-training adds the IDs' tokens: to a model that no earlier stage gave them."""
    return stage.command == "midtrain" and option_of(stage, "model_name_or_path", "") not in stage.sources


def add_ids(data: Data, shape: Shape) -> Shape:
    ids = data.find_latest("sids")
    return shape.with_ids(int(number(ids, "levels", 4)), int(number(ids, "codes", 256))) if ids else shape


def find_rankers(data: Data, stage: Stage, option: str = "reranker") -> list[Stage]:
    """The stages whose language models a reranker asks: its own, or those of a fusion's members."""
    found = []
    for source in filter(None, (data.stage(stage.sources.get(word, "")) for word in stage.options.get(option, []))):
        if source.command == "fit fusion":
            found += find_rankers(data, source, "members")
        elif source.command in TRAINS or (
            source.command == "fit one_pass" and option_of(source, "readout", "") != "none"
        ):
            found.append(source)
    return found
