"""Reasoning traces for slates: asked of a teacher (targeted, rejection), or written from categories (template).

targeted: the teacher is shown the relevant item and explains it. rejection: it is hidden, and the teacher is asked
again, hotter each time, until it puts it first. Both accept what passes gr2/traces/accept.py. (GR2, 2602.07774)
template: the relevant item comes first and the others stay in order; with `rankings`, any reranker's order is taught, for
which no label is needed.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
from tqdm import tqdm

from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.slates import Slate, sample_slates, slates_of
from gr2.files.tables import read_slates
from gr2.files.yaml import read_yaml
from gr2.masking import mask
from gr2.options.declare import arg
from gr2.prompts.prompt import Prompt, load_prompt, prompt_file
from gr2.traces import store
from gr2.traces.accept import Script
from gr2.traces.pool import Pool
from gr2.traces.summary import summarise, timing
from gr2.traces.teacher import Teacher
from gr2.traces.templated import taught, templated

WRITES = ("traces.jsonl",)


@dataclass
class Config:
    slates: str = arg(help="slates.parquet", path="slates.parquet")
    items: str = arg(help="items.parquet", path="items.parquet")
    semantic_ids: str = arg(help="semantic_ids.parquet", path="semantic_ids.parquet")
    prompt: str = arg(help="prompt: a file, or the name of one of gr2's, e.g. rejection", path=True)
    output_dir: str = arg(help="folder for traces.jsonl, summary.json and timing.json")
    domain: str | None = arg(
        None, "a domain, e.g. movies, or a file, in the place of the prompt's own, general one", path=True
    )
    priming: bool = arg(True, "show the domain's knowledge, the steps that people take one after another")
    mode: Literal["targeted", "rejection", "template"] = arg("rejection", "who writes, and what the teacher is shown")
    model_name_or_path: str | None = arg(
        None, "teacher: folder, hub id, `packaged:` name, or a server's model", path=True
    )
    engine: Literal["vllm", "transformers", "openai", "ray"] = arg(
        "vllm", "vllm, transformers, openai (servers), or ray (many machines)"
    )
    base_url: list[str] = arg([], "engine openai: URLs of one server or several, ending in /v1; key in OPENAI_API_KEY")
    concurrency: int = arg(32, "engine openai: requests in flight at each server", least=1)
    deadline: float = arg(600.0, "engine openai: seconds that a server has for an answer, whole", above=0)
    ray_engine: Literal["vllm", "transformers"] = arg("vllm", "engine ray: what each worker samples with")
    workers: int = arg(1, "engine ray: processes that hold the model", least=1)
    gpus_per_worker: float = arg(0.0, "engine ray: GPUs of a worker", least=0)
    rankings: str | None = arg(
        None,
        "template: teach the order of this rankings.parquet, and explain its first item",
        path="rankings.parquet",
        named=True,
    )
    split: Literal["train", "valid", "test"] = arg("train", "the slates of this split")
    max_slates: int | None = arg(None, "at most this many slates, drawn at random under the seed", least=1)
    skip_accepted: list[str] = arg([], "traces.jsonl files whose accepted slates are left out", path="traces.jsonl")
    tries: int = arg(1, "samples per slate, at most: it is asked again until one is accepted", least=1)
    accept_top: int = arg(1, "accept a ranking with a relevant item among its first N", least=1)
    least_gain: int = arg(
        0, "accept only where the relevant item rises by N ranks or more; others are not asked about", least=0
    )
    script: Script = arg(
        "prompt", "script of an explanation: latin, cyrillic, cjk, ...; prompt: as most of the prompt; or any"
    )
    temperature: float = arg(0.7, "of the first try; 0 is greedy", least=0)
    temperature_step: float = arg(0.1, "added for each further try", least=0)
    top_p: float = arg(0.95, "nucleus sampling", above=0, most=1)
    max_tokens: int = arg(512, "longest answer, in the teacher's tokens", least=1)
    max_model_len: int | None = arg(
        None, "the teacher's context in tokens, prompt and answer; its own where not given", least=1
    )
    max_prompt_tokens: int | None = arg(
        None, "the oldest history items are left out until a prompt has at most N of the teacher's tokens", least=1
    )
    tokenizer: str | None = arg(
        None, "whose tokens these are, for engine openai; elsewhere the teacher's own", path=True
    )
    batch_size: int = arg(
        256, "slates in flight at once (transformers, ray: in a batch); a kill loses no others", least=1
    )
    structured: bool = arg(True, "decode under the answer's JSON schema where the engine can")
    short_ids: bool = arg(False, "show the teacher 57-7-23 for a semantic ID: fewer tokens, where it never learnt them")
    seed: int = arg(0, "of every sample, together with its slate's id", least=0, most=2**32 - 1)

    def __post_init__(self) -> None:
        if self.mode != "template" and not self.model_name_or_path:
            raise InputError(f"--model_name_or_path: expected a teacher for --mode {self.mode}")
        if self.rankings and (self.mode != "template" or self.least_gain):
            raise InputError(f"--rankings {self.rankings}: expected --mode template and --least_gain 0")
        for url in self.base_url:
            if not url.startswith(("http://", "https://")) or self.engine != "openai":
                raise InputError(
                    f"--base_url {mask(url)}: expected a URL, http://... or https://..., and --engine openai"
                )
        if self.max_prompt_tokens is not None and self.engine == "openai" and not self.tokenizer:
            raise InputError(f"--max_prompt_tokens {self.max_prompt_tokens}: with --engine openai expected --tokenizer, "
                             "the folder or hub id of the server's model")  # fmt: skip
        if self.max_model_len is not None and self.max_tokens >= self.max_model_len:
            raise InputError(f"--max_tokens {self.max_tokens}: expected less than --max_model_len {self.max_model_len}, "
                             "which the prompt shares")  # fmt: skip


def run(config: Config) -> None:
    """Writes traces.jsonl (in slate order), summary.json, and timing.json for what a teacher was asked in this process.

    An interrupted run goes on from traces.partial.
    """
    check_prompt(config)
    catalogue = read_catalogue(config.items, config.semantic_ids)
    prompt = load_prompt(config.prompt, config.domain, config.priming)
    slates, left_out = choose(config, catalogue)
    output_dir = Path(config.output_dir)
    speed = ""
    if config.mode == "template":
        rows = templated(slates, taught(config.rankings, slates), prompt, catalogue, config.rankings or "template")
        output_dir.mkdir(parents=True, exist_ok=True)
    else:
        rows, took = from_teacher(config, slates, prompt, catalogue)
        write_json(output_dir / "timing.json", took)
        speed = f"; {took['completion_tokens_per_second']} tokens/s"
    summary = summarise(rows, slates) | left_out | {"prompt": prompt.label}
    store.write_traces(output_dir, rows)
    write_json(output_dir / "summary.json", summary)
    by_rank = ", ".join(f"{rank}: {found['share']}" for rank, found in summary["accepted_by_input_rank"].items())
    print(f"{summary['accepted']} of {summary['samples']} samples accepted, for {summary['slates_accepted']} of "
          f"{summary['slates']} slates; {summary['reasons'] or 'none refused'}{speed}\n"
          f"share of slates with an accepted trace, by the relevant item's input rank: {by_rank}")  # fmt: skip


def check_prompt(config: Config) -> None:
    texts = read_yaml(Path(prompt_file(config.prompt)))
    shows_target = re.search(r"\btarget\b", f"{texts.get('system')} {texts.get('user')}")
    if bool(shows_target) != (config.mode == "targeted"):
        raise InputError(
            f"{config.prompt}: mode targeted expects a prompt with `target` in it, other modes one without"
        )


def choose(config: Config, catalogue: Catalogue) -> tuple[list[dict], dict[str, int]]:
    """The slates to explain, in file order, each with `relevant` (its positive candidates); how many were left out."""
    slates = read_slates(config.slates, catalogue.item_ids)
    of_split = slates_of(slates.filter(pl.col("split") == config.split))
    if not of_split:
        raise InputError(f"{config.slates}: column 'split': expected slates of split '{config.split}', found none")
    labelled = [slate for slate in of_split if slate.relevant or config.rankings]
    skip = store.accepted_slates(config.skip_accepted)
    kept = [slate for slate in labelled if slate.slate_id not in skip]
    chosen = [
        slate for slate in kept if not config.least_gain or slate.first_relevant(slate.candidates) >= config.least_gain
    ]
    if kept and not chosen:
        raise InputError(
            f"--least_gain {config.least_gain}: expected less; no relevant item can rise by that many ranks"
        )
    counts = {
        "slates_without_relevant_item": len(of_split) - len(labelled),
        "slates_skipped": len(labelled) - len(kept),
        "slates_without_room_to_gain": len(kept) - len(chosen),
    }
    return sample_slates(chosen, config.max_slates, config.seed), counts


def from_teacher(config: Config, slates: list[Slate], prompt: Prompt, catalogue: Catalogue) -> tuple[list[dict], dict]:
    """Asks about each slate until it has an accepted trace or used up its tries; the rows, and how fast they came.

    The model is loaded for what is still to be asked: a finished run resumes without it.
    """
    teacher = Teacher(config, prompt, catalogue)
    teacher.check_room(slates)
    fit = teacher.fit(slates)
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    partial = store.Partial(output_dir, store.made_of(config))
    pool = Pool(fit, config.tries, partial.rows)
    if pool.left_out:
        print(f"{partial.path}: two runs wrote to it at once; {pool.left_out} samples that both asked for are left out")
    before = len(pool.rows)
    if not pool.waiting:
        return pool.sorted_rows(), timing([], 0.0)
    sampler = teacher.open()
    started = time.monotonic()
    with tqdm(total=len(slates), initial=pool.closed, desc="traces", unit="slate") as bar:
        for answered in sampler.stream(
            lambda room: [teacher.request(slate, sample) for slate, sample in pool.take(room)],
            top_p=config.top_p,
            max_tokens=config.max_tokens,
        ):
            rows = [teacher.row(*pool.in_flight(request.key), request.messages, sample) for request, sample in answered]
            partial.append(rows)
            for row in rows:
                pool.answered(row)
            bar.update(pool.closed - bar.n)
    return pool.sorted_rows(), timing(pool.rows[before:], time.monotonic() - started)
