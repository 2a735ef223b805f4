"""gr2 traces: a teacher's reasoning traces for slates. (GR2, 2602.07774)

targeted: the teacher is shown the relevant item and explains it. rejection: the item is hidden, and the teacher is
asked again, hotter each time, until it puts it first. Both accept what passes gr2/traces/accept.py.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.artifacts import files_below, sha256, write_json
from gr2.files.partial import PartialFile
from gr2.files.slates import sample_slates
from gr2.options.declare import arg, is_input
from gr2.prompts.answer import hint_at_limit
from gr2.prompts.checks import check_room
from gr2.prompts.history import fit_history
from gr2.prompts.prompt import load_prompt, prompt_file
from gr2.samplers.open import Engine, open_sampler
from gr2.stages.shared import SamplingWorkers, SemanticIdOptions, ServerOptions, SlateOptions, TracePromptOptions
from gr2.traces.accept import Rules, Script
from gr2.traces.ask import ask
from gr2.traces.choose import choose_slates
from gr2.traces.pool import Pool
from gr2.traces.store import PARTIAL, check_row, write_traces
from gr2.traces.summary import describe, summarise, timing
from gr2.traces.teacher import Sampling, Teacher

WRITES = ("traces.jsonl", "summary.json", "timing.json")


# How and where samples are requested: `open_sampler`'s settings. On all other options the samples depend.
SETTINGS = (
    "max_model_len",
    "batch_size",
    *(field.name for group in (ServerOptions, SamplingWorkers) for field in fields(group)),
)
FREE = ("output_dir", "engine", *SETTINGS)


@dataclass(kw_only=True)
class AcceptanceOptions:
    """Which answers are accepted."""

    tries: int = arg(1, "samples per slate: ask until one is accepted, N times at most", least=1)
    accept_top: int = arg(1, "accept a ranking whose top N holds a relevant item", least=1)
    least_gain: int = arg(0, "ranks that the relevant item must move up; slates where it cannot are skipped", least=0)
    script: Script = arg("prompt", "an explanation's script: latin, cjk, ...; prompt: most of the prompt's; or any")


@dataclass(kw_only=True)
class Config(SlateOptions, SemanticIdOptions, TracePromptOptions, ServerOptions, SamplingWorkers, AcceptanceOptions):
    output_dir: str = arg(help="folder for traces.jsonl, summary.json and timing.json")
    mode: Literal["targeted", "rejection"] = arg("rejection", "whether the teacher is shown the relevant item")
    model_name_or_path: str = arg(help="teacher: folder, hub id, `packaged:` name, or a server's model", path=True)
    engine: Engine = arg("vllm", "vllm, transformers, openai (a server), or ray (many machines)")
    temperature: float = arg(0.7, "temperature of the first try; 0 is greedy", least=0)
    temperature_step: float = arg(0.1, "added for each further try", least=0)
    top_p: float = arg(0.95, "nucleus sampling", above=0, most=1)
    max_tokens: int = arg(512, "longest answer, in the teacher's tokens", least=1)
    max_model_len: int | None = arg(None, "context of prompt and answer, in tokens; default: the teacher's", least=1)
    max_prompt_tokens: int | None = arg(
        None, "leave out the oldest history items until a prompt has N of the teacher's tokens or fewer", least=1
    )
    tokenizer: str | None = arg(None, "engine openai: folder or hub id of the served model's tokenizer", path=True)
    batch_size: int = arg(256, "slates in flight at once (transformers, ray: in a batch)", least=1)
    structured: bool = arg(True, "decode under the answer's JSON schema where the engine can")
    short_ids: bool = arg(False, "show semantic IDs as 57-7-23: fewer tokens, for a teacher that never learned them")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_prompt_tokens is not None and not self.tokenizer_name:
            raise InputError(f"--max_prompt_tokens {self.max_prompt_tokens}: with --engine openai expected --tokenizer")
        if self.max_model_len is not None and self.max_tokens >= self.max_model_len:
            raise InputError(f"--max_tokens {self.max_tokens}: expected less than --max_model_len {self.max_model_len}")

    @property
    def tokenizer_name(self) -> str | None:
        """None where it is unknown: a server's."""
        return self.tokenizer or (None if self.engine == "openai" else self.model_name_or_path)


def run(config: Config) -> None:
    """Reads slates, items, semantic IDs and a prompt; asks the teacher, of each slate until an answer is accepted.

    Writes traces.jsonl (every answer, in slate order), summary.json, and timing.json of this process; prints how many
    answers were accepted. An interrupted run resumes from traces.partial, without the model where all is answered.
    """
    # read
    prompt = load_prompt(config.prompt, config.domain, config.priming)
    if prompt.shows_target != (config.mode == "targeted"):
        shows, other = ("shows", "targeted") if prompt.shows_target else ("does not show", "rejection")
        raise InputError(f"--prompt {config.prompt} {shows} the target, so it needs --mode {other}, not {config.mode}")
    catalogue = read_catalogue(config.items, config.semantic_ids)
    item_ids, skip, least_gain = catalogue.item_ids, config.skip_accepted, config.least_gain
    slates, left_out = choose_slates(config.slates, item_ids, config.split, skip, least_gain=least_gain)
    slates = sample_slates(slates, config.max_slates, config.seed)

    # examples
    from gr2.language_model.loading import load_tokenizer  # slow to import: what was read is checked before

    tokenizer = load_tokenizer(config.tokenizer_name) if config.tokenizer_name else None
    if tokenizer:
        catalogue = catalogue.safe_for(tokenizer, prompt.title_tokens)
    sampling = Sampling(config.temperature, config.temperature_step, config.top_p, config.max_tokens, config.seed)
    rules = Rules(config.accept_top, config.least_gain, config.script)
    formats = {"structured": config.structured, "short_ids": config.short_ids}
    teacher = Teacher(config.model_name_or_path, config.mode, prompt, catalogue, sampling, rules, **formats)
    if tokenizer:
        check_room(slates, teacher.shown, prompt, tokenizer, config.max_tokens)
    shown = slates
    if config.max_prompt_tokens is not None:
        shown = fit_history(slates, teacher.messages, tokenizer, config.max_prompt_tokens)
    partial = PartialFile(Path(config.output_dir) / PARTIAL, made_of(config))
    pool = Pool(shown, config.tries, [check_row(row, str(partial.path)) for row in partial.rows])
    if pool.left_out:
        print(f"{partial.path}: two runs wrote to it at once; {pool.left_out} samples that both requested are left out")

    # model
    took = timing([], 0.0)
    if pool.waiting:
        settings = {name: vars(config)[name] for name in SETTINGS}
        sampler = open_sampler(config.engine, config.model_name_or_path, **settings)
        took = ask(teacher, sampler, pool, partial)

    # write
    rows = pool.sorted_rows()
    summary = summarise(rows, slates) | left_out | {"prompt": prompt.label}
    write_json(Path(config.output_dir) / "timing.json", took)
    write_traces(config.output_dir, rows)
    write_json(Path(config.output_dir) / "summary.json", summary)
    hint = hint_at_limit(summary["reasons"], summary["samples"], config.max_tokens)
    print(f"{describe(summary)}\n{took['completion_tokens_per_second']} tokens/s{hint}")


def made_of(config: Config) -> dict:
    """What a sample and its acceptance depend on: all options but FREE; input files by their sha256."""
    values = {name: value for name, value in vars(config).items() if name not in FREE}
    for field in filter(is_input, fields(config)):
        value = values[field.name]
        paths = value if isinstance(value, list) else [value] if value else []
        if field.name in ("prompt", "domain"):
            paths = map(prompt_file, paths)
        values[field.name] = [[sha256(file) for file in files_below(path)] or path for path in paths]
    return values
