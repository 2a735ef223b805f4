from dataclasses import replace
from itertools import permutations

import numpy as np
import polars as pl
import pytest
import torch

from gr2.arrays import pad
from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.evaluation import agreement
from gr2.files.slates import Slate
from gr2.rerankers.degre.evaluator import Evaluator, EvaluatorConfig
from gr2.rerankers.degre.inputs import InputReader
from gr2.rerankers.degre.judge import Judge, open_judge
from gr2.rerankers.degre.lookahead import score_lists
from gr2.rerankers.record import write_record

IDS = [f"i{number}" for number in range(9)]
CATALOGUE = Catalogue(
    item_ids=pl.Series("item_id", IDS),
    title={},
    category={},
    description={},
    sid={},
    codes={item_id: (number // 3, number % 3) for number, item_id in enumerate(IDS)},
)
SLATES = [
    Slate("a", ["i8"], IDS[:5], [0.0, 1.0, 0.0, 1.0, 0.0]),
    Slate("b", ["i7", "i0"], IDS[2:7], [1.0, 0.0, 0.0, 0.0, 0.0]),
    Slate("c", ["i1"], IDS[4:7], [0.0, 0.0, 1.0]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    torch.manual_seed(0)
    model = Evaluator(EvaluatorConfig(items=9, levels=2, codes=3, list_size=3, history=4, hidden_size=16, heads=2))
    for parameter in model.parameters():
        parameter.data.normal_(std=0.4)
    model.ids.copy_(torch.tensor([*CATALOGUE.codes.values()]))
    folder = tmp_path_factory.mktemp("evaluator")
    model.save_pretrained(folder)
    write_record(folder, "evaluator", CATALOGUE)
    return str(folder)


def judge(folder: str) -> Judge:
    return open_judge(folder, CATALOGUE, ("items.parquet", None, None))


def all_scores(folder: str, slate: Slate) -> dict[tuple[str, ...], float]:
    model, size = Evaluator.from_pretrained(folder).eval(), min(3, len(slate.candidates))
    reader = InputReader(CATALOGUE, model.config.history)
    seen = reader.read(reader.add_features([slate]))
    orders = list(permutations(range(len(slate.candidates)), size))
    with torch.no_grad():
        scores = score_lists(model, seen, torch.zeros(1, seen.mask.shape[1]), torch.tensor(orders)[None])[0]
    return {
        tuple(slate.candidates[at] for at in order): value for order, value in zip(orders, scores.tolist(), strict=True)
    }


def orders(rows: list[list[str]]) -> np.ndarray:
    """Lists of items -> what `better_shares` takes, the items that are not in a list behind it."""
    placed = []
    for slate, row in zip(SLATES, rows, strict=True):
        rest = [item for item in slate.candidates if item not in row]
        placed.append([slate.candidates.index(item) for item in [*row, *rest]])
    return pad(placed, -1)


def test_the_share_of_better_lists_is_that_of_all_lists_one_by_one(folder):
    every = [all_scores(folder, slate) for slate in SLATES]
    best, worst = ([list(pick(scores, key=scores.get)) for scores in every] for pick in (max, min))
    middle = [slate.candidates[::-1] for slate in SLATES]
    shares, about = agreement.better_shares(
        SLATES, [orders(rows) for rows in (best, worst, middle)], judge(folder), CATALOGUE, 3, 0
    )
    assert about["lists"] == 60 and about["method"] == "enumerated"
    assert shares[0].tolist() == [0, 0, 0]
    assert shares[1] == pytest.approx([59 / 60, 59 / 60, 5 / 6])
    expected = [
        np.mean([value > scores[tuple(ranked[:3])] for value in scores.values()])
        for scores, ranked in zip(every, middle, strict=True)
    ]
    assert shares[2] == pytest.approx(expected)
    assert 0 <= about["evaluator_auc"] <= 1 and 0 <= about["evaluator_calibration_error"] <= 1


def test_where_lists_are_too_many_random_ones_give_nearly_the_same(folder, monkeypatch):
    middle = [orders([slate.candidates[::-1] for slate in SLATES])]
    exact, _ = agreement.better_shares(SLATES, middle, judge(folder), CATALOGUE, 3, 0)
    monkeypatch.setattr(agreement, "ENUMERATED", 10)
    drawn, about = agreement.better_shares(SLATES, middle, judge(folder), CATALOGUE, 3, 0)
    assert about["method"] == "1000 random lists" and drawn == pytest.approx(exact, abs=0.05)
    assert not np.array_equal(drawn, exact)


def test_an_evaluator_of_other_semantic_ids_is_refused(folder):
    """Its embeddings are of codes: under other IDs it would judge other items."""
    swapped = dict(zip(CATALOGUE.codes, reversed(CATALOGUE.codes.values()), strict=True))
    with pytest.raises(InputError, match="it was fitted on other items or semantic IDs than the ones given"):
        open_judge(folder, replace(CATALOGUE, codes=swapped), ("items.parquet", None, None))


def test_lists_longer_than_the_evaluator_knows_are_refused(folder):
    with pytest.raises(InputError, match="fitted for lists of 3; expected --list_size up to that"):
        agreement.better_shares(SLATES, [], judge(folder), CATALOGUE, 4, 0)
