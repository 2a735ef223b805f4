"""Reasoning traces for slates: asked of a teacher (targeted, rejection), or written from categories (template).

targeted: the teacher is shown the relevant item and explains it. rejection: it is hidden, and the teacher is asked
again, hotter each time, until it puts it first. Both accept what passes gr2/traces/accept.py. (GR2, 2602.07774)
"""

import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from gr2 import template
from gr2.artifacts import write_json
from gr2.config import arg, read_yaml
from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.data.tables import read_slates
from gr2.errors import InputError
from gr2.prompts import Prompt, load_prompt, render, write_answer
from gr2.traces import store
from gr2.traces.teacher import Teacher

MODES = ("targeted", "rejection", "template")


@dataclass
class Config:
    slates: str = arg(help="slates.parquet")
    items: str = arg(help="items.parquet")
    semantic_ids: str = arg(help="semantic_ids.parquet")
    prompt: str = arg(help="prompt file, e.g. prompts/rejection.yaml")
    output_dir: str = arg(help="folder for traces.jsonl and summary.json")
    domain: str | None = arg(None, "a file of prompts/domains in the place of the prompt's own, general one")
    priming: bool = arg(True, "show the domain's knowledge, the steps that people take one after another")
    mode: str = arg("rejection", f"one of {', '.join(MODES)}")
    model_name_or_path: str | None = arg(None, "teacher: folder, hub id, `packaged:` name, or a server's model")
    engine: str = arg("vllm", "vllm, transformers, or openai (a server)")
    base_url: str | None = arg(None, "engine openai: the server's URL, ending in /v1; the key is OPENAI_API_KEY")
    split: str = arg("train", "the slates of this split")
    max_slates: int | None = arg(None, "at most this many slates, drawn at random under the seed")
    skip_accepted: list[str] = arg([], "traces.jsonl files whose accepted slates are left out")
    tries: int = arg(1, "samples per slate, at most: it is asked again until one is accepted")
    temperature: float = arg(0.7, "of the first try; 0 is greedy")
    temperature_step: float = arg(0.1, "added for each further try")
    top_p: float = arg(0.95, "nucleus sampling")
    max_tokens: int = arg(512, "longest answer, in the teacher's tokens")
    max_model_len: int | None = arg(None, "the teacher's context in tokens, prompt and answer; its own where not given")
    batch_size: int = arg(256, "slates per step; an interrupted run loses at most one step")
    structured: bool = arg(True, "decode under the answer's JSON schema where the engine can")
    short_ids: bool = arg(False, "show the teacher 57-7-23 for a semantic ID: fewer tokens, where it never learnt them")
    seed: int = arg(0, "of every sample, together with its slate's id")


def run(config: Config) -> None:
    """Writes traces.jsonl (in slate order) and summary.json; an interrupted run goes on from traces.partial."""
    check(config)
    catalogue = read_catalogue(config.items, config.semantic_ids)
    prompt = load_prompt(config.prompt, config.domain, config.priming)
    slates, left_out = choose(config, catalogue)
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    if config.mode == "template":
        rows = from_template(slates, prompt, catalogue)
    else:
        rows = from_teacher(config, slates, prompt, catalogue)
    store.write_traces(output_dir, rows)
    summary = summarise(rows) | left_out | {"prompt": prompt.label}
    write_json(output_dir / "summary.json", summary)
    print(f"{summary['accepted']} of {summary['samples']} samples accepted, for {summary['slates_accepted']} of "
          f"{summary['slates']} slates; {summary['reasons'] or 'none refused'}")  # fmt: skip


def check(config: Config) -> None:
    if config.mode not in MODES:
        raise InputError(f"mode '{config.mode}': expected one of {', '.join(MODES)}")
    if config.mode != "template" and not config.model_name_or_path:
        raise InputError(f"mode {config.mode} asks a teacher: expected model_name_or_path")
    for name in ("tries", "batch_size", "max_tokens"):
        if vars(config)[name] < 1:
            raise InputError(f"{name} {vars(config)[name]}: expected at least 1")
    texts = read_yaml(Path(config.prompt))
    shows_target = re.search(r"\btarget\b", f"{texts.get('system')} {texts.get('user')}")
    if bool(shows_target) != (config.mode == "targeted"):
        raise InputError(
            f"{config.prompt}: mode targeted expects a prompt with `target` in it, other modes one without"
        )


def choose(config: Config, catalogue: Catalogue) -> tuple[list[dict], dict[str, int]]:
    """The slates to explain, in file order, each with `relevant` (its positive candidates); how many were left out."""
    slates = read_slates(config.slates, catalogue.item_ids)
    of_split = [slate for slate in slates.iter_rows(named=True) if slate["split"] == config.split]
    if not of_split:
        raise InputError(f"{config.slates}: column 'split': expected slates of split '{config.split}', found none")
    labelled = [slate | {"relevant": _relevant(slate)} for slate in of_split if _relevant(slate)]
    skip = store.accepted_slates(config.skip_accepted)
    chosen = [slate for slate in labelled if slate["slate_id"] not in skip]
    counts = {
        "slates_without_relevant_item": len(of_split) - len(labelled),
        "slates_skipped": len(labelled) - len(chosen),
    }
    if config.max_slates is not None and config.max_slates < len(chosen):
        drawn = sorted(random.Random(config.seed).sample(range(len(chosen)), config.max_slates))
        chosen = [chosen[number] for number in drawn]
    return chosen, counts


def _relevant(slate: dict) -> list[str]:
    """The positive candidates in input order; none at serving time, when there are no labels."""
    return [item_id for item_id, label in zip(slate["candidates"], slate["labels"], strict=False) if label > 0]


def from_template(slates: list[dict], prompt: Prompt, catalogue: Catalogue) -> list[dict]:
    weights = template.category_weights(catalogue)
    rows = []
    for slate in slates:
        target = slate["relevant"][0]
        reasoning = template.explain(slate["history"][-prompt.max_history :], target, catalogue, weights)
        ranking = [target, *(item_id for item_id in slate["candidates"] if item_id != target)]
        rows.append({
            "slate_id": slate["slate_id"],
            "mode": "template",
            "sample": 0,
            "messages": render(prompt, slate, catalogue),
            "completion": write_answer(reasoning if prompt.has_trace else None, ranking, catalogue),
            "reasoning": reasoning,
            "ranking": ranking,
            "accepted": True,
            "reason": None,
            "finish_reason": "stop",
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "teacher": "template",
        })  # fmt: skip
    return rows


def from_teacher(config: Config, slates: list[dict], prompt: Prompt, catalogue: Catalogue) -> list[dict]:
    """Asks round by round (`batch_size` slates), each slate until it has an accepted trace or used up its tries."""
    teacher = Teacher(config, prompt, catalogue)
    steps = store.Steps(Path(config.output_dir))
    rows: list[dict] = []
    for start in range(0, len(slates), config.batch_size):
        pending = chosen = slates[start : start + config.batch_size]
        asked: list[dict] = []
        for attempt in range(config.tries):
            step = steps.next([(slate["slate_id"], attempt) for slate in pending])
            if step is None:
                step = teacher.ask(pending, attempt)
                steps.append(step)
            asked += step
            pending = [slate for slate, row in zip(pending, step, strict=True) if not row["accepted"]]
            if not pending:
                break
        place = {slate["slate_id"]: number for number, slate in enumerate(chosen)}
        rows += sorted(asked, key=lambda row: (place[row["slate_id"]], row["sample"]))
    return rows


def summarise(rows: list[dict]) -> dict:
    """Counts only: the same run gives the same summary."""
    accepted = [row for row in rows if row["accepted"]]
    slates, helped = ({row["slate_id"] for row in some} for some in (rows, accepted))
    return {
        "mode": rows[0]["mode"] if rows else None,
        "teacher": rows[0]["teacher"] if rows else None,
        "slates": len(slates),
        "slates_accepted": len(helped),
        "samples": len(rows),
        "accepted": len(accepted),
        "accepted_share": round(len(accepted) / max(1, len(rows)), 4),
        "reasons": dict(sorted(Counter(row["reason"] for row in rows if row["reason"]).items())),
        "prompt_tokens": sum(row["prompt_tokens"] for row in rows),
        "completion_tokens": sum(row["completion_tokens"] for row in rows),
    }
