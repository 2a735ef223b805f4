"""gr2 promote: today's reranker and the one that serves, on the same held-out slates -> the one that serves next.

Today's reranker takes over unless it may be worse. It does so if the lower end of the paired 95 % interval of the
difference in NDCG@5, new minus old, is above -margin. OUTPUT_DIR lies in the folder of a day, beside the folders of the
other days. In the folder of the days, the log `decisions.jsonl` gets a line, and the link `current` points at the day.
docs/updates.md says more.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gr2.arrays import pad_lists
from gr2.errors import InputError
from gr2.evaluation import inputs, systems
from gr2.evaluation.significance import compare, number
from gr2.files.artifacts import write_json
from gr2.files.decisions import point_current, write_decision
from gr2.files.rankings import read_rankings
from gr2.metrics import TOP
from gr2.options.declare import arg
from gr2.rerankers.origin import check_origin, find_origin, refuse_earlier_slates
from gr2.rerankers.record import digests, version_of
from gr2.rerankers.rules import NAMES
from gr2.stages.shared import EvaluationOptions

WRITES = ("decision.json",)
RERANKER = "reranker"  # the folder of the one that serves


@dataclass(kw_only=True)
class Config(EvaluationOptions):
    output_dir: str = arg(help="DAYS/DAY/promote: the reranker that serves, and decision.json")
    slates: str = arg(
        help="slates.parquet; neither reranker was trained on its slates of --split", path="slates.parquet"
    )
    new: str = arg(help="today's reranker: a folder", path=True)
    new_rankings: str = arg(help="its rankings of these slates", path="rankings.parquet", named=True)
    old: str = arg(help="the reranker that serves: a folder, or a rule such as input_order", path=True)
    old_rankings: str = arg(help="its rankings of these slates", path="rankings.parquet", named=True)
    margin: float = arg(
        0.01, "loss of NDCG@5 that must be ruled out; 0: today's reranker must be better beyond chance", least=0, most=1
    )


def run(config: Config) -> None:
    """Reads slates and both rankings; writes decision.json and `reranker/`, a line of the log, and the link."""
    output = Path(config.output_dir)
    days, day = output.absolute().parents[1], output.absolute().parent.name

    # check
    check_rankings("--new_rankings", config.new_rankings, config.new)
    check_rankings("--old_rankings", config.old_rankings, config.old)

    refuse_earlier_slates([config.new_rankings, config.old_rankings], config.slates)

    # measure
    decision = {"day": day, **measure(config)}

    # write
    chosen = config.new if decision["decision"] == "promoted" else config.old
    decision |= {"new": version_of(config.new), "old": version_of(config.old), "serving": chosen}
    if chosen not in NAMES:
        decision["serving"] = f"{day}/{output.name}/{RERANKER}"
        copy_whole(Path(chosen), output / RERANKER)
    write_json(output / "decision.json", decision)
    if chosen not in NAMES:
        point_current(days, day)
    write_decision(days, decision)  # last: from now on the day is decided
    print(f"{day}: {decision['decision']}: {decision['reason']}")


def check_rankings(option: str, path: str, reranker: str) -> None:
    """InputError unless `gr2 rerank` made these rankings with this reranker, as it is now."""
    origin = find_origin(path)
    if not origin:
        expected = "the manifest of `gr2 rerank` beside it, which says what made the rankings"
        raise InputError(f"{option} {path}: expected {expected}; found none")
    check_origin(origin, f"{option} {path}", reranker, digests(reranker))


def measure(config: Config) -> dict:
    """The decision with its figures, as JSON values."""
    slates, _ = inputs.read_split(config.slates, config.split, None)
    labels = pad_lists(slates["labels"], np.nan)
    rankings = {"new": config.new_rankings, "old": config.old_rankings}
    frames = {name: [read_rankings(file, slates)] for name, file in rankings.items()}
    orders = systems.all_orders(slates, labels, frames, config.seed)
    several = systems.measure_all(labels, orders, frames, TOP.ks)
    values = {name: several[name][0][TOP.headline] for name in ("new", "old", "input_order")}
    users = slates["user_id"].rank("dense").to_numpy()
    found = compare(values["new"], values["old"], users, config.resamples, config.seed)
    low, high = number(found.ci_low), number(found.ci_high)
    decision, reason = decide(low, config.margin)
    return {
        "decision": decision,
        "reason": reason,
        "metric": TOP.headline,
        **{f"{name}_value": number(of_one.mean()) for name, of_one in values.items()},
        "difference": number(found.delta),
        "interval": [low, high],
        "margin": config.margin,
        "slates": len(slates),
        "users": len(np.unique(users)),
    }


def decide(low: float | None, margin: float) -> tuple[str, str]:
    """The decision and a sentence. low: the lower end of the interval of new - old; None where nothing can be said."""
    if low is None:
        return "kept", "the slates of one user say nothing about others"
    if low > -margin:
        return "promoted", f"a loss of more than {margin:g} is ruled out: the interval's lower end is {low:+.4f}"
    return "kept", f"a loss of more than {margin:g} is not ruled out: the interval's lower end is {low:+.4f}"


def copy_whole(source: Path, target: Path) -> None:
    """Copies a folder, by hard links where the file system has them: gr2 never changes a file in place."""
    aside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    shutil.copytree(source, aside, copy_function=link_or_copy, ignore=shutil.ignore_patterns(".*", "checkpoint-*"))
    shutil.rmtree(target, ignore_errors=True)
    os.replace(aside, target)


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
