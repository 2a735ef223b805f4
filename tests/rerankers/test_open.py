import numpy as np
import pytest

from gr2.errors import InputError
from gr2.files.artifacts import write_json
from gr2.files.slates import Slate
from gr2.rerankers.open import KINDS, open_reranker
from gr2.rerankers.protocol import Inputs, rank_by_scores
from gr2.rerankers.record import FILES, MODEL_TYPES
from gr2.stages import FIT

INPUTS = Inputs("items.parquet")


def test_every_kind_of_fit_but_the_evaluator_opens():
    assert {*FIT} - {"evaluator"} == {*FIT} & {*KINDS} == ({*FILES, *MODEL_TYPES} & {*KINDS}) - {"latent"}


def test_a_reranker_is_opened_and_ranks_in_three_lines():
    reranker = open_reranker("reversed", INPUTS)
    (ranking,) = reranker.rank([Slate("s", ["a"], ["b", "c", "d"])])
    assert (ranking.slate_id, ranking.ranking, ranking.valid, ranking.scores) == ("s", ["d", "c", "b"], True, None)


@pytest.mark.parametrize(("kind", "missing"), [
    ("blend", "--interactions and --embeddings"), ("lambdamart", "--interactions and --embeddings"),
    ("prm", "--interactions and --embeddings"), ("glorank", "--semantic_ids"), ("goalrank", "--semantic_ids"),
])  # fmt: skip
def test_a_kind_says_which_inputs_are_missing(tmp_path, kind, missing):
    write_json(tmp_path / "reranker.json", {"kind": kind})
    write_json(tmp_path / FILES.get(kind, "config.json"), {"model_type": MODEL_TYPES.get(kind)})
    with pytest.raises(InputError, match=f"--reranker {tmp_path}: expected {missing}$"):
        open_reranker(str(tmp_path), INPUTS)


def test_a_language_model_says_so_too(tmp_path):
    write_json(tmp_path / "config.json", {"model_type": "llama"})
    with pytest.raises(InputError, match=r"expected --semantic_ids$"):
        open_reranker(str(tmp_path), INPUTS)


def test_equal_scores_keep_the_input_order():
    (ranking,) = rank_by_scores([Slate("s", [], ["a", "b", "c", "d"])], [np.array([1.0, 2.0, 1.0, 2.0])])
    assert ranking.ranking == ["b", "d", "a", "c"] and ranking.scores == [2, 2, 1, 1]
