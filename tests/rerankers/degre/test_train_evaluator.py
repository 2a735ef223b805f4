"""What the evaluator learns of items that no list has shown: nothing by their codes, their kind by what it reads."""

import random

import numpy as np
import polars as pl
import pytest
import torch

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.evaluation.agreement import evaluator_quality
from gr2.files.slates import Slate
from gr2.rerankers.degre.evaluator import Evaluator
from gr2.rerankers.degre.inputs import InputReader
from gr2.rerankers.degre.judge import open_judge
from gr2.rerankers.degre.train_evaluator import train_evaluator
from gr2.rerankers.record import write_record
from gr2.rerankers.settings import Lists, Training
from tests.helpers import untold

ITEMS, KINDS = 120, 2
IDS = [f"i{at}" for at in range(ITEMS)]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """Codes that say nothing of an item."""
    numbers = random.Random(0).sample(range(144), ITEMS)
    codes = {item_id: divmod(number, 12) for item_id, number in zip(IDS, numbers, strict=True)}
    return Catalogue(pl.Series("item_id", IDS), {}, {}, {}, {}, codes)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Near the centre of an item's kind, which its number modulo KINDS says."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(KINDS, 8))
    return centres[np.arange(ITEMS) % KINDS] + 0.2 * rng.normal(size=(ITEMS, 8))


def draw_slates(items: range, count: int, split: str) -> list[Slate]:
    """Four items of the kind that the user likes, and eight candidates, of which the four of that kind are relevant."""
    rng, slates = random.Random(split), []
    for number in range(count):
        liked = number % KINDS
        own = rng.sample([at for at in items if at % KINDS == liked], 8)
        others = rng.sample([at for at in items if at % KINDS != liked], 4)
        candidates = rng.sample(own[:4] + others, 8)
        labels = [float(at % KINDS == liked) for at in candidates]
        slates.append(
            Slate(f"{split}{number}", [IDS[at] for at in own[4:]], [IDS[at] for at in candidates], labels, split=split)
        )
    return slates


@pytest.fixture(scope="module")
def fitted(catalogue, vectors, tmp_path_factory):
    """What an evaluator reads beside codes -> its folder."""
    half = range(ITEMS // 2)
    train, valid = draw_slates(half, 200, "train"), draw_slates(half, 40, "valid")
    lists, features = Lists(train, valid, catalogue, 3, 4), untold(vectors)
    told = {"": {}, "vectors": {"vectors": torch.from_numpy(vectors).float()}, "features": {"features": features}}
    folders = {}
    for name, known in told.items():
        folder = str(tmp_path_factory.mktemp("evaluators") / f"by_{name}")
        training = Training(folder, 0, 16, 1, 0.1, learning_rate=3e-3, batch_size=32, epochs=10, patience=9)
        train_evaluator(lists, training, 4, **known)
        write_record(folder, "evaluator", catalogue)
        folders[name] = folder
    return folders


@pytest.mark.parametrize(("name", "least", "most"), [("", 0.4, 0.6), ("vectors", 0.9, 1.0), ("features", 0.9, 1.0)])
def test_items_that_no_list_has_shown_are_judged_by_what_is_known_of_them(
    fitted, catalogue, vectors, name, least, most
):
    model = Evaluator.from_pretrained(fitted[name]).eval()
    reader = InputReader(catalogue, 4, tuple(model.config.features), untold(vectors))
    known = reader.add_features(draw_slates(range(ITEMS // 2, ITEMS), 100, "test"))
    assert least <= evaluator_quality(model, known, reader)["evaluator_auc"] <= most


def test_the_order_of_a_slates_candidates_says_nothing(fitted, catalogue, vectors):
    model = Evaluator.from_pretrained(fitted["vectors"]).eval()
    (slate,), reader = draw_slates(range(ITEMS), 1, "test"), InputReader(catalogue, 4)
    turned = slate.reordered(range(7, -1, -1))
    lists = torch.tensor([[[0, 3, 5]]])
    with torch.no_grad():
        one = model.prefix_logits(reader.read(reader.add_features([slate])), lists)
        other = model.prefix_logits(reader.read(reader.add_features([turned])), 7 - lists)
    torch.testing.assert_close(one, other)


def test_an_evaluator_that_reads_features_is_refused_where_there_are_none(fitted, catalogue):
    with pytest.raises(InputError, match="it reads features; expected --interactions and --embeddings"):
        open_judge(fitted["features"], catalogue, ("items.parquet", None, "embeddings.safetensors"))
