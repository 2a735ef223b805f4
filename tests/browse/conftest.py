"""A run's folder made by hand, with texts that try to be markup, and its page in a headless Chromium."""

import json
from pathlib import Path

import polars as pl
import pytest

from gr2.files.sid_tokens import sid_string
from tests.helpers import gr2

SLATES, ITEMS, SIZE = 300, 40, 6
HOSTILE = {
    0: '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">',
    1: "line\u2028separator \u202e backwards",
    2: "{{ 7 * 7 }} <!-- <script> ${7 * 7}",
    3: "W" * 400,
    4: "Café Ångström Crème",
}
CATEGORY = "<b>Nails</b>"


def sid(item: int) -> str:
    return sid_string([item, item])


def slate(number: int, split: str) -> dict:
    """Slate s7 of user u3 holds items 7 to 12 in this order; the one in its third place is relevant."""
    items = [f"i{(number + place) % ITEMS}" for place in range(SIZE)]
    return {
        "slate_id": f"{'s' if split == 'test' else 't'}{number}",
        "user_id": "<i>first</i>" if number == 0 else f"u{number // 2}",
        "history": [f"i{(number + 20 + place) % ITEMS}" for place in range(14)],
        "candidates": items,
        "labels": [0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
        "scores": [1 - place / 8 for place in range(SIZE)],
        "split": split,
        "facts": [{"rank": place + 1, "popularity": place % 10, "words_last": 9} for place in range(SIZE)],
    }


def write_ranking(folder: Path, slates: list[dict], order: list[int], config: dict | None = None, **columns) -> None:
    folder.mkdir()
    ranked = [[row["candidates"][place] for place in order] for row in slates]
    frame = {"slate_id": [row["slate_id"] for row in slates], "ranking": ranked, "valid": [True] * len(slates)}
    pl.DataFrame(frame | columns).write_parquet(folder / "rankings.parquet")
    if config:
        manifest = {"stage": "rerank", "config": config, "outputs": {}}
        (folder / "manifest.json").write_text(json.dumps(manifest))


def write_run(root: Path) -> Path:
    """`good` lifts the relevant item from place 3 to 2, `bad` drops it to 6, and every other answer of `broken` is
    unusable; `good` has a trace for s5, which cites a candidate, an item of the history and one of neither.
    """
    test, train = [slate(n, "test") for n in range(SLATES)], [slate(n, "train") for n in range(4)]
    for folder in ("prepare", "sids", "slates", "evaluate"):
        (root / folder).mkdir(parents=True)
    items = [f"i{number}" for number in range(ITEMS)]
    titles = [HOSTILE.get(number, f"Film number {number}") for number in range(ITEMS)]
    pl.DataFrame({"item_id": items, "title": titles, "categories": [[CATEGORY, "Polish"]] * ITEMS}).write_parquet(
        root / "prepare/items.parquet"
    )
    codes = [[number, number] for number in range(ITEMS)]
    pl.DataFrame({"item_id": items, "codes": codes, "sid": list(map(sid, range(ITEMS)))}).write_parquet(
        root / "sids/semantic_ids.parquet"
    )
    pl.DataFrame([*train, *test]).write_parquet(root / "slates/slates.parquet")
    written = [None] * SLATES
    written[5] = f"<b>After</b> {sid(25)} comes {sid(7)}, not {sid(20)}."
    write_ranking(root / "rerank_good", test, [0, 2, 1, 3, 4, 5], {"split": "test"}, reasoning=written)
    write_ranking(root / "rerank_bad", test, [0, 1, 3, 4, 5, 2], scores=[[5.0, 4, 3, 2, 1, float("nan")]] * SLATES)
    valid = [number % 2 == 0 for number in range(SLATES)]
    reasons = [None if usable else "truncated" for usable in valid]
    write_ranking(root / "rerank_broken", test, list(range(SIZE)), valid=valid, reason=reasons)
    write_ranking(root / "rerank_part", test[:1], list(range(SIZE)))
    write_ranking(root / "teacher", train, list(range(SIZE)), {"split": "train"})
    config = {
        "slates": "old/place/slates/slates.parquet",
        "rankings": ["fine <b>=old/place/rerank_good/rankings.parquet", "bad=old/place/rerank_bad/rankings.parquet"],
        "items": "old/place/prepare/items.parquet",
        "split": "test",
    }
    (root / "evaluate/manifest.json").write_text(json.dumps({"stage": "evaluate", "config": config, "outputs": {}}))
    (root / "evaluate/report.html").write_text("")
    trace = {
        "slate_id": "t1", "mode": "targeted", "sample": 0, "messages": [], "completion": "", "reasoning": "<u>Why</u>",
        "ranking": train[1]["candidates"][::-1], "accepted": False, "reason": "copied_prompt", "finish_reason": "stop",
        "prompt_tokens": 1, "completion_tokens": 1, "teacher": "some/teacher",
    }  # fmt: skip
    (root / "traces").mkdir()
    lines = [trace, trace | {"sample": 1, "ranking": None, "accepted": True, "reason": None}]
    (root / "traces/traces.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("browse") / "my <run>")


@pytest.fixture(scope="session")
def page(run) -> str:
    """The address of the run's page."""
    gr2("browse", run)
    return (run / "browse.html").as_uri()
